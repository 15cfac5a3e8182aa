"""Several systems that answered the same items: every pair of them, and all at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from overnight.errors import UsageError
from overnight.stats.bootstrap import bootstrap_intervals
from overnight.stats.clusters import cluster_codes
from overnight.stats.cochran import CochranQ, cochran_q
from overnight.stats.compare import adjust
from overnight.stats.paired import Margin, PairedStatistics, paired_statistics, shallow
from overnight.stats.pairs import FloatArray, pair
from overnight.stats.rng import stream

_NAMED = 3  # ids that an error lists


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemMean:
    """One system over the items for which the metric is defined."""

    system: str
    n_items: int
    n_undefined: int  # items for which the metric is undefined; not in the mean
    mean: float | None  # in the unit of the metric
    ci_low: float | None
    ci_high: float | None
    ci_method: str | None
    undefined_because: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemPair(PairedStatistics):
    """Two systems: ``first`` stands for the control, ``second`` for the treatment of every number."""

    first: str
    second: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemsComparison:
    """All systems on one metric; q-values run over all pairs."""

    metric: str
    is_binary: bool  # whether items are right or wrong, so that McNemar's test is the declared one
    n_items: int
    n_clusters: int
    seed: int
    n_resamples: int
    confidence: float
    systems: tuple[SystemMean, ...]  # in the order given
    pairs: tuple[SystemPair, ...]  # (1, 2), (1, 3), ..., (2, 3), ...
    cochran: CochranQ  # over the items that every system defines


def compare_systems(
    scores: Mapping[str, Mapping[str, float | None]],
    *,
    metric: str,
    seed: int,
    n_resamples: int = 5000,
    confidence: float = 0.95,
    clusters: Mapping[str, str] | None = None,
    margin: Margin | None = None,
    right_from: float | None = None,
) -> SystemsComparison:
    """Compare every two systems, item by item, and all of them at once.

    Args:
        scores: by system, by item key; None where the metric is undefined for the item.
        metric: its name, which with the names of the systems also names the random streams: adding a system
            moves no number of the others but the q-values.
        seed: of all streams.
        n_resamples: of each bootstrap and each sign-flip test.
        confidence: of all intervals, in (0, 1).
        clusters: of each item the cluster it belongs to, for instance its passage; None takes items as
            independent.
        margin: for equivalence; None makes no test of it.
        right_from: a score from this up is right, one below wrong; None takes the metric as binary only where
            every score is 0 or 1.

    Raises:
        UsageError: there are fewer than two systems, or two of them do not have the same items.
        ValueError: a score is not finite, or a setting is out of range.
    """
    require_same_items(scores)
    names = list(scores)
    keys = sorted(scores[names[0]])
    is_binary = right_from is not None or _is_binary(scores)
    same: dict[str, Any] = {
        "metric": metric,
        "seed": seed,
        "n_resamples": n_resamples,
        "confidence": confidence,
        "clusters": clusters,
    }
    pairs = [
        compare_pair(scores, first, second, has_right_and_wrong=is_binary, margin=margin, **same)
        for first, second in combinations(names, 2)
    ]
    codes = cluster_codes(keys, clusters)
    return SystemsComparison(
        metric=metric,
        is_binary=is_binary,
        n_items=len(keys),
        n_clusters=len(keys) if codes is None else int(codes.max()) + 1,
        seed=seed,
        n_resamples=n_resamples,
        confidence=confidence,
        systems=tuple(system_mean(name, scores[name], **same) for name in names),
        pairs=tuple(adjust(pairs)),
        cochran=cochran_q(complete_table(scores, keys, right_from)),
    )


def compare_pair(
    scores: Mapping[str, Mapping[str, float | None]],
    first: str,
    second: str,
    *,
    metric: str,
    seed: int,
    n_resamples: int,
    confidence: float,
    clusters: Mapping[str, str] | None,
    margin: Margin | None,
    has_right_and_wrong: bool,
) -> SystemPair:
    """Compare two of the systems; arguments as in `compare_systems`."""
    statistics = paired_statistics(
        pair(scores[first], scores[second]),
        metric=metric,
        stream_for=lambda purpose: stream(seed, purpose, "systems", metric, first, second),
        has_right_and_wrong=has_right_and_wrong,
        clusters=clusters,
        margin=margin,
        n_resamples=n_resamples,
        confidence=confidence,
    )
    return SystemPair(first=first, second=second, **shallow(statistics))


def require_same_items(scores: Mapping[str, Mapping[str, float | None]]) -> None:
    """Check that all systems have the same item keys.

    Raises:
        UsageError: they do not, or there are fewer than two.
    """
    names = list(scores)
    if len(names) < 2:  # noqa: PLR2004 - a comparison takes two
        raise UsageError(f"{len(names)} systems; a comparison takes two or more")
    first = scores[names[0]].keys()
    for name in names[1:]:
        missing, further = first - scores[name].keys(), scores[name].keys() - first
        if missing or further:
            raise UsageError(
                f"{name} and {names[0]} do not have the same items: {_some(missing)} only in {names[0]}, "
                f"{_some(further)} only in {name}; compare systems over the same items"
            )


def _some(keys: set[str]) -> str:
    shown = sorted(keys)[:_NAMED]
    dots = ", ..." if len(keys) > _NAMED else ""
    return f"{len(keys)} ({', '.join(shown)}{dots})" if keys else "0"


def _is_binary(scores: Mapping[str, Mapping[str, float | None]]) -> bool:
    values = {value for items in scores.values() for value in items.values()}
    return values - {None} <= {0.0, 1.0} and values != {None}


def complete_table(
    scores: Mapping[str, Mapping[str, float | None]], keys: Sequence[str], right_from: float | None = None
) -> FloatArray:
    """Return ``[n_items, n_systems]`` of the items that every system defines, as 0 and 1 with ``right_from``."""
    columns = [[scores[name][key] for key in keys] for name in scores]
    table = np.array(columns, dtype=np.float64).reshape(len(columns), len(keys)).T
    table = table[~np.isnan(table).any(axis=1)]
    return table if right_from is None else (table >= right_from).astype(np.float64)


def system_mean(
    system: str,
    items: Mapping[str, float | None],
    *,
    metric: str,
    seed: int,
    n_resamples: int,
    confidence: float,
    clusters: Mapping[str, str] | None,
) -> SystemMean:
    """Return the mean of one system with its bootstrap interval; arguments as in `compare_systems`."""
    keys = sorted(key for key, value in items.items() if value is not None)
    values = np.array([items[key] for key in keys], dtype=np.float64)
    if not keys:
        return SystemMean(
            system=system,
            n_items=0,
            n_undefined=len(items),
            mean=None,
            ci_low=None,
            ci_high=None,
            ci_method=None,
            undefined_because=f"the metric is undefined for all of {len(items)} items",
        )
    interval = bootstrap_intervals(
        values,
        n_resamples=n_resamples,
        confidence=confidence,
        rng=stream(seed, "bootstrap mean", "systems", metric, system),
        clusters=cluster_codes(keys, clusters),
    ).percentile
    return SystemMean(
        system=system,
        n_items=len(keys),
        n_undefined=len(items) - len(keys),
        mean=float(values.mean()),
        ci_low=interval.low,
        ci_high=interval.high,
        ci_method=interval.method,
        undefined_because=None
        if interval.low is not None
        else f"one {'item' if len(keys) == 1 else 'cluster'} has no interval",
    )
