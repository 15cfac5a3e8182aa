"""Which of two rankings is better: of two measures, of two models, on the same items or on others."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from overnight.errors import UndefinedMetricError
from overnight.stats.auroc_resamples import paired_aurocs
from overnight.stats.degeneracy import DEFAULT_LIMITS, Limits, degeneracy, require_sound
from overnight.stats.delong import BY_CLUSTER, BY_ITEM, paired_variance, placements, two_sided
from overnight.stats.multiplicity import adjust_all
from overnight.stats.pairs import FloatArray
from overnight.stats.pooling import normal_interval
from overnight.stats.ranking import percentile_interval
from overnight.stats.scored_items import ScoredItems

ALIKE = "both rank these items alike: their AUROCs differ by 0 without any error"


@dataclass(frozen=True, slots=True, kw_only=True)
class AurocDifference:
    """Second minus first: positive where the second tells wrong from right answers better."""

    first: str
    second: str
    method: str
    n_items: int  # compared; of the smaller side where the items differ
    confidence: float
    auroc_first: float | None = None
    auroc_second: float | None = None
    difference: float | None = None
    se: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None  # two-sided, of no difference
    q_value: float | None = None  # Benjamini-Hochberg, over the family that was adjusted together
    q_value_by: float | None = None
    p_holm: float | None = None
    undefined_because: str | None = None


def compare_measures(
    measures: Mapping[str, ScoredItems], *, confidence: float = 0.95, limits: Limits = DEFAULT_LIMITS
) -> list[AurocDifference]:
    """Test every two measures of one model by one label, on the items that all sound measures have.

    DeLong's test for correlated AUROCs, adjusted over all pairs. A degenerate measure takes part in no test;
    its pairs say why.

    Raises:
        ValueError: an item has different labels in two measures.
    """
    reasons = {
        name: found.sentence for name, items in measures.items() if (found := degeneracy(items, limits))
    }
    sound = {name: items for name, items in measures.items() if name not in reasons}
    shared = frozenset.intersection(*(frozenset(items.keys) for items in sound.values())) if sound else set()
    same = {name: items.only(shared) for name, items in sound.items()}
    labels = [items.is_wrong for items in same.values()]
    if any(not np.array_equal(labels[0], other) for other in labels[1:]):
        raise ValueError("an item has different labels in two measures; compare them by one label")
    on_shared = {name: found.sentence for name, items in same.items() if (found := degeneracy(items, limits))}
    placed = {
        name: placements(items.uncertainty, items.is_wrong, items.clusters)
        for name, items in same.items()
        if name not in on_shared
    }
    by_cluster = any(items.clusters is not None for items in same.values())
    differences = []
    for first, second in combinations(measures, 2):
        empty = AurocDifference(
            first=first,
            second=second,
            method=f"{BY_CLUSTER if by_cluster else BY_ITEM}, paired",
            n_items=len(shared),
            confidence=confidence,
        )
        why = [
            f"{name}: {found[name]}"
            for name in (first, second)
            for found in (reasons, on_shared)
            if name in found
        ]
        if why:
            differences.append(replace(empty, undefined_because="; ".join(why)))
            continue
        a, b = placed[first], placed[second]
        differences.append(_normal(empty, a.auroc, b.auroc, paired_variance(a, b)))
    return adjusted(differences)


def compare_models(
    first: tuple[str, ScoredItems],
    second: tuple[str, ScoredItems],
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    confidence: float = 0.95,
    limits: Limits = DEFAULT_LIMITS,
) -> AurocDifference:
    """Compare one measure of two models over the items that both have.

    Each model is right on items of its own, so the labels differ and DeLong's test, which takes one label, does
    not apply: items, or whole clusters of them, are resampled for both together, and the difference of AUROCs is
    read from each resample.

    Args:
        first: name and items.
        second: likewise.
        rng: moved by the draws.
        n_resamples: number of resamples; the p-value is 2 x the smaller tail, with 1 added to tail and total.
        confidence: of the percentile interval.
        limits: below and above which a result is named and not computed.
    """
    shared = set(first[1].keys) & set(second[1].keys)
    a, b = first[1].only(shared), second[1].only(shared)
    empty = AurocDifference(
        first=first[0],
        second=second[0],
        method="paired bootstrap of the difference: labels differ"
        + ("" if a.clusters is None else "; whole clusters drawn"),
        n_items=len(shared),
        confidence=confidence,
    )
    try:
        for items in (first[1], second[1], a, b):
            require_sound(items, limits)
    except UndefinedMetricError as error:
        return replace(empty, undefined_because=str(error))
    resamples = _paired_resamples(a, b, n_resamples, rng)
    auroc_a, auroc_b = (placements(items.uncertainty, items.is_wrong).auroc for items in (a, b))
    point = replace(empty, auroc_first=auroc_a, auroc_second=auroc_b, difference=auroc_b - auroc_a)
    interval = percentile_interval(resamples, confidence)
    if interval.low is None:
        return replace(point, undefined_because="too many resamples have one class only")
    defined = resamples[np.isfinite(resamples)]
    if np.ptp(defined) == 0.0:
        return replace(point, undefined_because=ALIKE if defined[0] == 0.0 else "no resample differs")
    tail = 1 + min(int((defined <= 0.0).sum()), int((defined >= 0.0).sum()))
    return replace(
        point,
        se=float(defined.std(ddof=1)),
        low=interval.low,
        high=interval.high,
        p_value=min(1.0, 2.0 * tail / (len(defined) + 1)),
    )


def compare_apart(
    first: tuple[str, ScoredItems],
    second: tuple[str, ScoredItems],
    *,
    confidence: float = 0.95,
    limits: Limits = DEFAULT_LIMITS,
) -> AurocDifference:
    """Compare AUROCs on different items: independent, so DeLong's variances add up."""
    (name_a, a), (name_b, b) = first, second
    empty = AurocDifference(
        first=name_a,
        second=name_b,
        method=f"{BY_ITEM if a.clusters is None and b.clusters is None else BY_CLUSTER}, independent items",
        n_items=min(a.n_items, b.n_items),
        confidence=confidence,
    )
    try:
        for items in (a, b):
            require_sound(items, limits)
        placed_a, placed_b = (
            placements(items.uncertainty, items.is_wrong, items.clusters) for items in (a, b)
        )
        return _normal(empty, placed_a.auroc, placed_b.auroc, placed_a.variance + placed_b.variance)
    except UndefinedMetricError as error:
        return replace(empty, undefined_because=str(error))


def adjusted(differences: list[AurocDifference]) -> list[AurocDifference]:
    """Fill the adjusted p-values over all these tests; call it once on a family, its size is part of the result."""
    return [
        replace(one, q_value=q.q_value, q_value_by=q.q_value_by, p_holm=q.p_holm)
        for one, q in zip(differences, adjust_all([one.p_value for one in differences]), strict=True)
    ]


def _normal(empty: AurocDifference, first: float, second: float, variance: float) -> AurocDifference:
    difference = second - first
    point = replace(empty, auroc_first=first, auroc_second=second, difference=difference)
    if variance <= 0.0:
        why = ALIKE if difference == 0.0 else "the scores separate the classes: the standard error is 0"
        return replace(point, undefined_because=why)
    se = math.sqrt(variance)
    low, high = normal_interval(difference, se, empty.confidence)
    return replace(point, se=se, low=low, high=high, p_value=two_sided(difference, variance))


def _paired_resamples(
    first: ScoredItems,
    second: ScoredItems,
    n_resamples: int,
    rng: np.random.Generator,
) -> FloatArray:
    areas = paired_aurocs([first, second], n_resamples=n_resamples, rng=rng)
    difference: FloatArray = areas[1] - areas[0]
    return difference
