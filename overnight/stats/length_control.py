"""Is a measure of uncertainty more than the length of the answer? Sums of token losses grow with it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from overnight.errors import UndefinedMetricError
from overnight.stats.bootstrap import Interval
from overnight.stats.correlations import PartialCorrelation, partial_spearman
from overnight.stats.degeneracy import DEFAULT_LIMITS, Limits, degeneracy
from overnight.stats.delong import BY_CLUSTER, BY_ITEM, delong_interval, placements
from overnight.stats.pairs import FloatArray
from overnight.stats.scored_items import ScoredItems


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """Answers of about one length."""

    shortest: float
    longest: float
    n_right: int
    n_wrong: int
    auroc: float | None
    undefined_because: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthControl:
    """A measure beside length, the control, and among answers of about one length; all of the same items."""

    n_items: int
    auroc: float | None
    auroc_length: float | None  # of length alone, longer taken as less certain
    auroc_within: float | None  # pairs of a wrong and a right answer of one stratum only
    within_se: float | None
    within: Interval | None
    within_undefined_because: str | None
    strata: tuple[Stratum, ...]  # from the shortest answers up
    partial: PartialCorrelation | None  # of the measure and being wrong, length held fixed
    partial_undefined_because: str | None
    undefined_because: str | None = None


def control_for_length(
    items: ScoredItems,
    lengths: Mapping[str, float],
    *,
    n_strata: int = 4,
    confidence: float = 0.95,
    limits: Limits = DEFAULT_LIMITS,
) -> LengthControl:
    """Judge a measure among answers of about one length.

    The AUROC within strata is sum of pairs x AUROC over sum of pairs, over the strata with enough of both
    classes; strata are taken as independent, so DeLong's variances add up with squared weights. Items of one
    cluster are kept together inside a stratum; two that lie in two strata are taken as independent there, and the
    partial correlation takes every item so.

    Args:
        items: the measure.
        lengths: of each answer, in content tokens; of items that have none, nothing is used.
        n_strata: at most so many, of about equal numbers; equal lengths stay together.
        confidence: of the interval.
        limits: of a stratum too.
    """
    items = items.only({key for key in items.keys if key in lengths})
    of_each = np.array([lengths[key] for key in items.keys], dtype=np.float64)
    found = degeneracy(items, limits)
    if found:
        return LengthControl(
            n_items=items.n_items,
            auroc=None,
            auroc_length=None,
            auroc_within=None,
            within_se=None,
            within=None,
            within_undefined_because=found.sentence,
            strata=(),
            partial=None,
            partial_undefined_because=found.sentence,
            undefined_because=found.sentence,
        )
    strata, auroc, se, why = _within(items, of_each, n_strata, limits)
    partial, partial_why = None, None
    try:
        partial = partial_spearman(items.uncertainty, items.is_wrong.astype(np.float64), of_each)
    except UndefinedMetricError as error:
        partial_why = str(error)
    return LengthControl(
        n_items=items.n_items,
        auroc=placements(items.uncertainty, items.is_wrong).auroc,
        auroc_length=placements(of_each, items.is_wrong).auroc,
        auroc_within=auroc,
        within_se=se,
        within=None
        if auroc is None or se is None
        else delong_interval(auroc, se**2, confidence, BY_ITEM if items.clusters is None else BY_CLUSTER),
        within_undefined_because=why,
        strata=strata,
        partial=partial,
        partial_undefined_because=partial_why,
    )


def _within(
    items: ScoredItems, lengths: FloatArray, n_strata: int, limits: Limits
) -> tuple[tuple[Stratum, ...], float | None, float | None, str | None]:
    first = np.searchsorted(np.sort(lengths), lengths, side="left")
    stratum_of = first * n_strata // len(lengths)
    strata, n_pairs, areas, variances = [], [], [], []
    keys = np.array(items.keys)
    for stratum in np.unique(stratum_of):
        inside = stratum_of == stratum
        part = items.only(set(keys[inside].tolist()))
        found = degeneracy(part, limits)
        placed = None if found else placements(part.uncertainty, part.is_wrong, part.clusters)
        if placed is not None:
            n_pairs.append(part.n_right * part.n_wrong)
            areas.append(placed.auroc)
            variances.append(placed.variance)
        strata.append(
            Stratum(
                shortest=float(lengths[inside].min()),
                longest=float(lengths[inside].max()),
                n_right=part.n_right,
                n_wrong=part.n_wrong,
                auroc=None if placed is None else placed.auroc,
                undefined_because=found.sentence if found else None,
            )
        )
    if not n_pairs:
        return tuple(strata), None, None, "no stratum of lengths has enough right and wrong answers"
    weights = np.array(n_pairs) / sum(n_pairs)
    return tuple(strata), float(weights @ areas), math.sqrt(float(weights**2 @ variances)), None
