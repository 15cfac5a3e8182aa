"""What size, family, data set, instruction and quantization do to an AUROC, by pairs that differ in that alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from overnight.errors import UndefinedMetricError
from overnight.stats.auroc_difference import AurocDifference, adjusted, compare_apart, compare_models
from overnight.stats.degeneracy import DEFAULT_LIMITS, Limits
from overnight.stats.model_cells import SAME_SIZE_WITHIN, Cell, Factor, Match, matches, why_unmatched
from overnight.stats.multiplicity import adjust_all
from overnight.stats.pooling import Effect, Pooled, Pooling, hartung_knapp, pool
from overnight.stats.rng import stream


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedPair:
    """Two cells that differ in one factor, and by how much their AUROCs do."""

    factor: Factor
    levels: tuple[str, str]
    measure: str
    label: str
    difference: AurocDifference  # of the second level less the first


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastSummary:
    """All pairs of one contrast taken together; positive where the second level has the higher AUROC."""

    factor: Factor
    levels: tuple[str, str]
    measure: str
    label: str
    n_pairs: int  # with a difference and a standard error
    n_undefined: int  # without; their pairs say why
    n_shared_cells: (
        int  # that are in several of these pairs, which are then not independent as pooling takes them
    )
    pooling: Pooling | None = None  # DerSimonian & Laird
    hartung_knapp: Pooled | None = None  # its p-value is the declared one
    paired_t_p: float | None = None  # of the differences alone: equal weights, normal scatter
    q_value: float | None = None  # over all summaries
    q_value_by: float | None = None
    p_holm: float | None = None
    undefined_because: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmatched:
    """A question that these cells cannot answer."""

    factor: Factor
    measure: str
    label: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrasts:
    """The five questions; pairs are adjusted over all pairs, summaries over all summaries."""

    pairs: tuple[MatchedPair, ...]
    summaries: tuple[ContrastSummary, ...]
    unmatched: tuple[Unmatched, ...]


def contrasts(
    cells: Sequence[Cell],
    *,
    seed: int,
    n_resamples: int = 2000,
    confidence: float = 0.95,
    limits: Limits = DEFAULT_LIMITS,
    same_size_within: float = SAME_SIZE_WITHIN,
) -> Contrasts:
    """Find the matched pairs among all cells of a study, test each, and pool them by contrast.

    Two models on one data set share items, so these are resampled together; two data sets share none. Call it
    once on all measures and labels: the number of tests is part of the result.

    Args:
        cells: of any number of measures and labels, one a model, data set, measure and label.
        seed: with the two cells, measure and label it names each random stream.
        n_resamples: of each bootstrap.
        confidence: of all intervals.
        limits: below and above which a cell is in no test.
        same_size_within: see `differing`.

    Raises:
        ValueError: two cells are of one model, data set, measure and label.
    """
    names = Counter((cell.name, cell.measure, cell.label) for cell in cells)
    if names and max(names.values()) > 1:
        raise ValueError(f"two cells are both {names.most_common(1)[0][0]}")
    found = matches(cells, same_size_within)
    differences = adjusted([_compared(match, seed, n_resamples, confidence, limits) for match in found])
    groups: dict[tuple[str, str, Factor, tuple[str, str]], list[tuple[Match, AurocDifference]]] = {}
    for match, difference in zip(found, differences, strict=True):
        key = (match.first.measure, match.first.label, match.factor, match.levels)
        groups.setdefault(key, []).append((match, difference))
    return Contrasts(
        pairs=tuple(
            MatchedPair(
                factor=match.factor,
                levels=match.levels,
                measure=match.first.measure,
                label=match.first.label,
                difference=difference,
            )
            for match, difference in zip(found, differences, strict=True)
        ),
        summaries=_adjusted([_summary(*key, group, confidence) for key, group in groups.items()]),
        unmatched=_unmatched(cells, found, same_size_within),
    )


def _compared(
    match: Match, seed: int, n_resamples: int, confidence: float, limits: Limits
) -> AurocDifference:
    first, second = (match.first.name, match.first.items), (match.second.name, match.second.items)
    if match.factor == Factor.DATASET:
        return compare_apart(first, second, confidence=confidence, limits=limits)
    names = (match.first.measure, match.first.label, first[0], second[0])
    return compare_models(
        first,
        second,
        rng=stream(seed, "matched contrast", *names),
        n_resamples=n_resamples,
        confidence=confidence,
        limits=limits,
    )


def _summary(
    measure: str,
    label: str,
    factor: Factor,
    levels: tuple[str, str],
    group: list[tuple[Match, AurocDifference]],
    confidence: float,
) -> ContrastSummary:
    effects, members = [], Counter[str]()
    for match, one in group:
        if one.difference is not None and one.se:
            effects.append(Effect(name=f"{one.first} - {one.second}", mean=one.difference, se=one.se))
            members.update((match.first.name, match.second.name))
    summary = ContrastSummary(
        factor=factor,
        levels=levels,
        measure=measure,
        label=label,
        n_pairs=len(effects),
        n_undefined=len(group) - len(effects),
        n_shared_cells=sum(count > 1 for count in members.values()),
    )
    try:
        pooling = pool(effects, confidence=confidence)
    except UndefinedMetricError:
        why = f"{len(effects)} pairs have a difference; a summary takes at least 2"
        return replace(summary, undefined_because=why)
    differences = np.array([effect.mean for effect in effects])
    return replace(
        summary,
        pooling=pooling,
        hartung_knapp=hartung_knapp(effects, pooling.tau2, confidence=confidence),
        paired_t_p=float(stats.ttest_1samp(differences, 0.0).pvalue) if np.ptp(differences) > 0 else None,
    )


def _adjusted(summaries: list[ContrastSummary]) -> tuple[ContrastSummary, ...]:
    p_values = [one.hartung_knapp.p_value if one.hartung_knapp else None for one in summaries]
    return tuple(
        replace(one, q_value=q.q_value, q_value_by=q.q_value_by, p_holm=q.p_holm)
        for one, q in zip(summaries, adjust_all(p_values), strict=True)
    )


def _unmatched(
    cells: Sequence[Cell], found: Sequence[Match], same_size_within: float
) -> tuple[Unmatched, ...]:
    matched = {(match.first.measure, match.first.label, match.factor) for match in found}
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.measure, cell.label), []).append(cell)
    return tuple(
        Unmatched(
            factor=factor,
            measure=measure,
            label=label,
            sentence=why_unmatched(factor, group, same_size_within),
        )
        for (measure, label), group in groups.items()
        for factor in Factor
        if (measure, label, factor) not in matched
    )
