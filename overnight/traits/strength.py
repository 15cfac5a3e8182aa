"""How well held-out texts are told apart, from the tallies of their folds, and how well chance does it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overnight.traits.held_out import Tally
from overnight.traits.labelled import Floats

# Sums are taken in double precision; two statistics that are closer than this are equal.
_TIE = 1e-9
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strengths:
    """Statistics of held-out texts under many labellings (or of many directions); NaN where undefined."""

    accuracy: Floats  # share on their own side of the midpoint between the training means
    cohens_d: Floats  # difference of the sides' means over their pooled standard deviation
    auroc: Floats  # how often a positive text projects higher than a negative one of its own fold


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counts:
    """How many texts of each side a fold has, under every labelling."""

    positive: Floats  # [F]
    negative: Floats  # [F]


def strengths_at(found: Tally, counts: Counts) -> Strengths:
    """Return the statistics of all folds, each held out alone."""
    each = np.arange(len(counts.positive))
    weights = counts.positive * counts.negative
    return Strengths(
        accuracy=found.n_correct[each, each].sum(axis=0) / (counts.positive + counts.negative).sum(),
        cohens_d=cohens_d(
            found.moments[each, each].sum(axis=0), counts.positive.sum(), counts.negative.sum()
        )[0],
        auroc=weights @ found.auroc / weights.sum(),
    )


def inner_strengths(found: Tally, counts: Counts, k: int) -> tuple[Floats, Floats, Floats]:
    """Return accuracy, Cohen's d and the pooled standard deviation within the folds other than k, ``[B]`` each."""
    rest = np.arange(len(counts.positive)) != k
    n_positive, n_negative = counts.positive[rest].sum(), counts.negative[rest].sum()
    accuracy = found.n_correct[k, rest].sum(axis=0) / (n_positive + n_negative)
    d, spread = cohens_d(found.moments[k, rest].sum(axis=0), n_positive, n_negative)
    return accuracy, d, spread


def cohens_d(moments: Floats, n_positive: float, n_negative: float) -> tuple[Floats, Floats]:
    """Return Cohen's d of two groups and their pooled standard deviation, ``[B]`` each.

    NaN where the groups do not vary: there is nothing to measure their difference by.

    Args:
        moments: ``[4, B]``, sum and sum of squares of the positive group, then of the negative one.
        n_positive: size of the positive group.
        n_negative: size of the negative group.

    Source:
        Cohen (1988), Statistical Power Analysis, 2.5.1: the pooled variance has n + m - 2 degrees of freedom.
    """
    positive, positive_squares, negative, negative_squares = moments
    within = positive_squares - positive**2 / n_positive + negative_squares - negative**2 / n_negative
    varies = within > _ROUNDING * (positive_squares + negative_squares)
    spread = np.sqrt(np.where(varies, within, np.nan) / (n_positive + n_negative - 2))
    return (positive / n_positive - negative / n_negative) / spread, spread


def choose(accuracy: Floats, d: Floats) -> NDArray[np.int64]:
    """Return the index of the best point, ``[P, ...] -> [...]``; -1 where no point has an accuracy.

    The highest accuracy; of equal ones, which are the rule where a trait is easy, the largest Cohen's d; of equal
    ones of these, the first.
    """
    known = np.where(np.isnan(accuracy), -np.inf, accuracy)
    best = known.max(axis=0)
    largest = np.where(known == best, np.where(np.isnan(d), -np.finfo(np.float64).max, d), -np.inf)
    return np.where(np.isinf(best), -1, largest.argmax(axis=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Null:
    """What chance gives of one statistic; None where undefined."""

    n: int
    mean: float | None
    p95: float | None  # what one in twenty reaches
    p: float | None  # (1 + those at least as high as what was found) / (1 + n)
    p_of_any_point: (
        float | None
    )  # the same for the highest over all points: the price of looking at all of them


def compare(observed: float, null: Floats, highest: Floats | None = None) -> Null:
    """Return how a statistic compares with ``[n]`` values of it that are chance.

    A value of chance that is undefined counts as at least as high, so that it never makes anything look better.

    Source:
        Phipson & Smyth (2010), Stat Appl Genet Mol Biol 9:39, for the + 1; Westfall & Young (1993) for the highest.
    """
    known = null[np.isfinite(null)]
    return Null(
        n=len(null),
        mean=float(known.mean()) if len(known) else None,
        p95=float(np.quantile(known, 0.95, method="higher")) if len(known) else None,
        p=_p(observed, null),
        p_of_any_point=None if highest is None else _p(observed, highest),
    )


def _p(observed: float, null: Floats) -> float | None:
    if not np.isfinite(observed):
        return None
    n_below = int(np.sum(null < observed - _TIE * (1 + abs(observed))))
    return (1 + len(null) - n_below) / (1 + len(null))
