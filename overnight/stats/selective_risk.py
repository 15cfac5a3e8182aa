"""Answering only where the model is confident: how often is it wrong, and at what share of the items?"""

import math
from dataclasses import dataclass

import numpy as np

from overnight.errors import UndefinedMetricError
from overnight.stats.clustered import IntArray
from overnight.stats.pairs import FloatArray

_TIE = 1e-12  # risks closer than this are the same one, rounded


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RiskCoverage:
    """The risk-coverage curve of one arm, from the most confident answers down.

    Risk is the share of wrong ones among the answers that are given, in [0, 1]; coverage is the share of
    *all* items that are answered. An abstention is not covered at any confidence, so the curve may end
    before coverage 1.
    """

    n_items: int
    n_answered: int
    thresholds: FloatArray  # [G] distinct confidences, falling
    n_covered: IntArray  # [G] answers at least that confident
    n_wrong: FloatArray  # [G] wrong answers among them; a share where an item has several draws
    aurc: float  # mean risk over the answers covered one by one: 0 is best, `risk` is what chance gives
    aurc_optimal: float  # of the same answers in the best order there is

    @property
    def coverage(self) -> float:
        """Share of all items that are answered at all."""
        return self.n_answered / self.n_items

    @property
    def risk(self) -> float:
        """Share of wrong ones among all answers."""
        return float(self.n_wrong[-1]) / self.n_answered

    @property
    def excess_aurc(self) -> float:
        """AURC above that of the best order; 0 where every right answer is more confident than every wrong."""
        return max(0.0, self.aurc - self.aurc_optimal)

    @property
    def prediction_rejection_ratio(self) -> float:
        """How much of the way from chance to the best order the AURC goes: 1 is best, 0 chance, below 0 worse.

        (risk - AURC) / (risk - optimal AURC); chance is its exact expectation, not some shuffles.

        Raises:
            UndefinedMetricError: all answers are equally right, so that no order beats another.

        Source:
            Malinin & Gales (2021), ICLR, arXiv:2002.07650, with AURC as the area.
        """
        reach = self.risk - self.aurc_optimal
        if reach <= _TIE:
            raise UndefinedMetricError(
                f"every answer has risk {self.risk:g}: no order is better than another"
            )
        return (self.risk - self.aurc) / reach

    def risk_at(self, coverage: float) -> float:
        """Return the risk when just enough answers are given to cover this share of all items.

        Inside a tie it is the mean over all orders of the tied answers.

        Raises:
            UndefinedMetricError: fewer items are answered than that.
            ValueError: the coverage is outside (0, 1].
        """
        if not 0.0 < coverage <= 1.0:
            raise ValueError(f"coverage is {coverage}; it must lie in (0, 1]")
        wanted = math.ceil(coverage * self.n_items - 1e-9)  # .7 x 10 is 7.000000000000001
        if wanted > self.n_answered:
            raise UndefinedMetricError(
                f"{self.n_answered} of {self.n_items} items are answered; coverage {coverage} needs {wanted}"
            )
        counts, wrong = np.append(0, self.n_covered), np.append(0.0, self.n_wrong)
        return float(np.interp(wanted, counts, wrong)) / wanted


def risk_coverage(confidence: FloatArray, correctness: FloatArray, *, n_items: int) -> RiskCoverage:
    """Return the curve of ``[N]`` answers among ``n_items`` items; the order of the answers is immaterial.

    AURC is the mean of the risks after the first, second, ... answer. Tied answers have no order, so theirs
    is averaged over all orders, in closed form: a constant confidence would give the plain risk, whichever
    way the rows lie.

    Args:
        confidence: of the items that are answered; only its order counts.
        correctness: of the same items in [0, 1].
        n_items: all items, answered or not.

    Raises:
        UndefinedMetricError: nothing is answered, or all confidences are equal and so rank nothing.
        ValueError: a value is not finite or out of range, or there are more answers than items.

    Source:
        Geifman & El-Yaniv (2017), NeurIPS, and Geifman, Uziel & El-Yaniv (2019), ICLR, arXiv:1805.08206, for
        AURC and its excess; there the optimum is approximated, here it is exact, and ties are broken there.
    """
    if len(confidence) > n_items or len(confidence) != len(correctness):
        raise ValueError(f"{len(confidence)} confidences, {len(correctness)} answers, {n_items} items")
    if not (np.isfinite(confidence).all() and ((correctness >= 0) & (correctness <= 1)).all()):
        raise ValueError("a confidence is not finite or a correctness lies outside [0, 1]")
    if len(confidence) == 0:
        raise UndefinedMetricError(f"none of {n_items} items is answered with a confidence")
    values, group = np.unique(-confidence, return_inverse=True)
    if len(values) == 1:
        raise UndefinedMetricError(
            f"all {len(confidence)} answers have one confidence, {confidence[0]:g}, which ranks nothing"
        )
    counts = np.bincount(group)
    wrong: FloatArray = np.bincount(group, weights=1.0 - correctness).astype(np.float64)
    best = np.sort(1.0 - correctness)
    return RiskCoverage(
        n_items=n_items,
        n_answered=len(confidence),
        thresholds=-values,
        n_covered=np.cumsum(counts),
        n_wrong=np.cumsum(wrong),
        aurc=float(tie_averaged_aurc(counts[np.newaxis], wrong[np.newaxis])[0]),
        aurc_optimal=float(np.mean(np.cumsum(best) / np.arange(1, len(best) + 1))),
    )


def tie_averaged_aurc(counts: IntArray, wrong: FloatArray) -> FloatArray:
    """Return ``[R]`` AURCs of R curves over G groups of tied answers, the most confident first.

    With K answers and E wrong ones before a group of g answers at error rate r, its answers add
    sum over k = K+1..K+g of (E + (k - K) r) / k = r g + (E - K r) (H(K + g) - H(K)), H the harmonic numbers.

    Args:
        counts: ``[R, G]`` answers in each group, 0 where a resample has none.
        wrong: ``[R, G]`` wrong answers in each group.

    Returns:
        NaN for a curve without answers.
    """
    after = np.cumsum(counts, axis=1)
    n_answers = after[:, -1]
    harmonic = np.append(0.0, np.cumsum(1.0 / np.arange(1, int(n_answers.max(initial=0)) + 1)))
    rise = np.diff(harmonic[after], axis=1, prepend=0.0)
    excess = np.cumsum(wrong, axis=1) - wrong  # before each group, over what its own rate would have given
    rate = np.divide(wrong, counts, out=np.zeros(counts.shape), where=counts > 0)
    excess -= (after - counts) * rate
    area: FloatArray = wrong.sum(axis=1) + np.einsum("rg,rg->r", excess, rise)
    mean: FloatArray = np.divide(area, n_answers, out=np.full(len(area), np.nan), where=n_answers > 0)
    return mean
