"""AUROC with DeLong's standard error, and the test of two measures on the same items."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from overnight.errors import UndefinedMetricError
from overnight.stats.bootstrap import Interval
from overnight.stats.clusters import Codes
from overnight.stats.pairs import FloatArray
from overnight.stats.pooling import normal_interval
from overnight.stats.scored_items import BoolArray

_TWO = 2  # of each class, for a variance: answers, or clusters that have such answers
BY_ITEM = "DeLong"
BY_CLUSTER = "DeLong, by cluster (Obuchowski)"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placements:
    """Where each answer stands among those of the other class, in [0, 1]; a tie counts one half."""

    of_wrong: FloatArray  # [n_wrong] share of the right answers that are more certain than this wrong one
    of_right: FloatArray  # [n_right] share of the wrong answers that are less certain than this right one
    clusters: tuple[Codes, Codes] | None = None  # [n_wrong], [n_right]; None: every answer is its own

    @property
    def auroc(self) -> float:
        """How often a wrong answer is less certain than a right one, ties half; 1 is a perfect ranking."""
        return float(self.of_wrong.mean())

    @property
    def variance(self) -> float:
        """DeLong's variance of the AUROC; 0 where the classes are separated.

        With clusters it is Obuchowski's, which is the same where each answer is a cluster of its own.

        Raises:
            UndefinedMetricError: there is only one answer of a class, or one cluster that has any.
        """
        return _variance(self.of_wrong, self.of_right, self.clusters)

    @property
    def method(self) -> str:
        """What the variance is called."""
        return BY_ITEM if self.clusters is None else BY_CLUSTER


def placements(uncertainty: FloatArray, is_wrong: BoolArray, clusters: Codes | None = None) -> Placements:
    """Return the placements of ``[N]`` items, from ranks, in N log N.

    Args:
        uncertainty: finite; higher is less certain.
        is_wrong: the class that should have the higher scores.
        clusters: ``[N]`` items that stand or fall together; None takes every item as independent.

    Raises:
        UndefinedMetricError: all answers are right, all are wrong, or there are none.
        ValueError: there are not as many labels as scores, or a score is not finite.

    Source:
        DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837-845; the ranks: Sun & Xu (2014), IEEE Signal
        Processing Letters 21:1389-1393; clusters: Obuchowski (1997), Biometrics 53:567-578.
    """
    if len(uncertainty) != len(is_wrong) or not np.isfinite(uncertainty).all():
        raise ValueError(f"{len(uncertainty)} scores, {len(is_wrong)} labels, or a score is not finite")
    n_wrong = int(is_wrong.sum())
    n_right = len(is_wrong) - n_wrong
    if not n_wrong or not n_right:
        raise UndefinedMetricError(
            f"{n_right} right and {n_wrong} wrong answers: without both there is nothing to tell apart"
        )
    ranks = stats.rankdata(uncertainty)
    n_right_below = ranks[is_wrong] - stats.rankdata(uncertainty[is_wrong])
    n_wrong_below = ranks[~is_wrong] - stats.rankdata(uncertainty[~is_wrong])
    return Placements(
        of_wrong=n_right_below / n_right,
        of_right=(n_wrong - n_wrong_below) / n_wrong,
        clusters=None if clusters is None else (clusters[is_wrong], clusters[~is_wrong]),
    )


def delong_interval(auroc: float, variance: float, confidence: float, method: str = BY_ITEM) -> Interval:
    """Return AUROC -+ z SE, cut off at 0 and 1; without bounds where the SE is 0."""
    if variance <= 0.0:
        return _undefined(auroc, confidence, method)
    low, high = normal_interval(auroc, math.sqrt(variance), confidence)
    return Interval(
        low=max(0.0, low), high=min(1.0, high), confidence=confidence, n_resamples=0, method=method
    )


def logit_interval(auroc: float, variance: float, confidence: float, method: str = BY_ITEM) -> Interval:
    """Return the interval of log(A / (1 - A)) taken back to A: inside (0, 1), and better near its ends.

    Source:
        Pepe (2003), The Statistical Evaluation of Medical Tests, section 5.2.4; by the delta method the
        standard error is SE / (A (1 - A)).
    """
    if variance <= 0.0 or not 0.0 < auroc < 1.0:
        return _undefined(auroc, confidence, f"{method}, logit")
    low, high = special.expit(
        normal_interval(
            float(special.logit(auroc)), math.sqrt(variance) / (auroc * (1.0 - auroc)), confidence
        )
    )
    return Interval(
        low=float(low), high=float(high), confidence=confidence, n_resamples=0, method=f"{method}, logit"
    )


def paired_variance(first: Placements, second: Placements) -> float:
    """Return DeLong's variance of the difference of two AUROCs on the same items with the same labels.

    It is the variance of the differences of placements, so it is 0 exactly where both rank alike.

    Raises:
        UndefinedMetricError: there is only one answer of a class, or one cluster that has any.
        ValueError: the two do not have the same numbers of wrong and right answers.
    """
    return _variance(second.of_wrong - first.of_wrong, second.of_right - first.of_right, first.clusters)


def two_sided(difference: float, variance: float) -> float:
    """Return the two-sided normal p-value of no difference; the variance must be positive."""
    return float(2 * stats.norm.sf(abs(difference) / math.sqrt(variance)))


def _variance(of_wrong: FloatArray, of_right: FloatArray, clusters: tuple[Codes, Codes] | None) -> float:
    if min(len(of_wrong), len(of_right)) < _TWO:
        raise UndefinedMetricError(
            f"{len(of_right)} right and {len(of_wrong)} wrong answers: a standard error takes two of each"
        )
    if clusters is not None and np.ptp(of_wrong) + np.ptp(of_right) > 0.0:
        return _clustered_variance(of_wrong, of_right, *clusters)
    # The variance of a constant may round away from 0.
    return sum(float(np.var(part, ddof=1)) / len(part) for part in (of_wrong, of_right) if np.ptp(part) > 0.0)


def _clustered_variance(
    of_wrong: FloatArray, of_right: FloatArray, clusters_of_wrong: Codes, clusters_of_right: Codes
) -> float:
    """Return S10 / m + S01 / n + 2 S11 / (m n), from sums of deviations over whole clusters; at least 0."""
    n_wrong, n_right = len(of_wrong), len(of_right)
    names, member = np.unique(np.concatenate([clusters_of_wrong, clusters_of_right]), return_inverse=True)
    n_with = [len(np.unique(codes)) for codes in (clusters_of_wrong, clusters_of_right)]
    if min(n_with) < _TWO:
        raise UndefinedMetricError(
            f"the wrong answers are in {n_with[0]} and the right ones in {n_with[1]} clusters: "
            "a standard error takes two of each"
        )
    n = len(names)
    wrong = np.bincount(member[:n_wrong], weights=of_wrong - of_wrong.mean(), minlength=n) / n_wrong
    right = np.bincount(member[n_wrong:], weights=of_right - of_right.mean(), minlength=n) / n_right
    found = (
        n_with[0] / (n_with[0] - 1) * float(wrong @ wrong)
        + n_with[1] / (n_with[1] - 1) * float(right @ right)
        + 2 * n / (n - 1) * float(wrong @ right)
    )
    return max(0.0, found)  # the three terms are scaled apart, so few clusters may give less


def _undefined(auroc: float, confidence: float, method: str) -> Interval:
    separated = "the scores separate right from wrong answers"
    return Interval(
        low=None,
        high=None,
        confidence=confidence,
        n_resamples=0,
        method=method,
        undefined_because=f"{'clusters cancel out' if 0.0 < auroc < 1.0 else separated}: the standard error is 0",
    )
