"""One metric in two arms: how far apart they are, and whether that could be chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeVar

from overnight.records import ItemType
from overnight.stats.cochran import CochranQ
from overnight.stats.multiplicity import adjust_all
from overnight.stats.paired import Margin, PairedStatistics, paired_statistics, shallow
from overnight.stats.pairs import pair
from overnight.stats.rng import stream

METRICS: Mapping[ItemType, tuple[str, ...]] = MappingProxyType(
    {
        ItemType.OPEN: ("em", "f1", "abstain_rate", "false_answer_rate", "unsupported_rate", "rouge_l"),
        ItemType.CLOSED: ("em", "f1", "abstain_rate", "rouge_l"),
    }
)
OPTIONAL_METRICS = frozenset({"rouge_l"})  # compared where a table has them
IS_HIGHER_BETTER = {
    "em": True,
    "f1": True,
    "rouge_l": True,
    "false_answer_rate": False,
    "unsupported_rate": False,
}

Test = TypeVar("Test", bound=PairedStatistics | CochranQ)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(PairedStatistics):
    """Treatment against control on one metric, type and temperature; metrics are in [0, 1]."""

    metric: str
    type: ItemType
    temperature: float


def compare_arms(
    control: Mapping[str, float | None],
    treatment: Mapping[str, float | None],
    *,
    metric: str,
    type: ItemType,  # noqa: A002 - called as the column of every table is
    temperature: float,
    seed: int,
    n_resamples: int = 5000,
    confidence: float = 0.95,
    clusters: Mapping[str, str] | None = None,
    margin: Margin | None = None,
) -> Comparison:
    """Compare two arms by item.

    Every metric gets every estimate; the declared p-value of em is that of McNemar's exact test, after an item
    with several draws is called right or wrong by `mcnemar.RIGHT_FROM`, that of the others is the sign-flip
    test's.

    Args:
        control: per-item value by item key; None where the metric is undefined for the item.
        treatment: likewise.
        metric: one of ``METRICS[type]``.
        type: the type of all these items.
        temperature: the temperature of both arms.
        seed: with metric, type and temperature it names the random streams, so no comparison moves another.
        n_resamples: of the bootstrap and of the sign flips.
        confidence: of all intervals, in (0, 1).
        clusters: of each item the cluster it belongs to; None takes items as independent.
        margin: for equivalence; None makes no test of it.

    Returns:
        Without pairs, a comparison whose numbers are None and which says why; with one pair, no interval.

    Raises:
        ValueError: the metric is not tested for this type, or a value or setting is out of range.
    """
    if metric not in METRICS[type]:
        raise ValueError(f"metric {metric!r} is not tested on {type} items; choose from {METRICS[type]}")
    statistics = paired_statistics(
        pair(control, treatment),
        metric=metric,
        stream_for=lambda purpose: stream(seed, purpose, metric, type.value, repr(float(temperature))),
        has_right_and_wrong=metric == "em",
        clusters=clusters,
        margin=margin,
        n_resamples=n_resamples,
        confidence=confidence,
    )
    return Comparison(metric=metric, type=type, temperature=temperature, **shallow(statistics))


def metric_margin(metric: str, margins: Mapping[Any, float], alpha: float) -> Margin | None:
    """Return the declared margin of a metric, with which way is worse; None where none was declared."""
    if metric not in margins:
        return None
    return Margin(margin=margins[metric], alpha=alpha, is_higher_better=IS_HIGHER_BETTER.get(metric))


def adjust(tests: Sequence[Test]) -> list[Test]:
    """Fill the adjusted p-values over every declared p-value of the run, of whichever test.

    Call it once, on all tests of a run: their number is part of the result.
    """
    adjusted = adjust_all([test.p_value for test in tests])
    return [
        replace(test, q_value=q.q_value, q_value_by=q.q_value_by, p_holm=q.p_holm)
        for test, q in zip(tests, adjusted, strict=True)
    ]
