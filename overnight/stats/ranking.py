"""Does confidence rank right answers above wrong ones? AUROC, and the intervals of what ranking gives."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from overnight.errors import UndefinedMetricError
from overnight.stats.bootstrap import Interval
from overnight.stats.clustered import IntArray, resampled_counts
from overnight.stats.mcnemar import RIGHT_FROM
from overnight.stats.pairs import FloatArray
from overnight.stats.selective_risk import tie_averaged_aurc

_ENOUGH_DEFINED = 0.95  # of the resamples; with fewer, what is left is no longer a sample of what could be


def auroc(confidence: FloatArray, correctness: FloatArray) -> float:
    """Return how often a right answer is more confident than a wrong one, ties half; 1 is a perfect ranking.

    Args:
        confidence: ``[N]``, higher is more confident.
        correctness: ``[N]`` in [0, 1]; right from `RIGHT_FROM` up.

    Raises:
        UndefinedMetricError: all answers are right, all are wrong, or there are none: no pair to rank.
    """
    right = correctness >= RIGHT_FROM
    n_right = int(right.sum())
    if n_right in (0, len(right)):
        raise UndefinedMetricError(
            f"{n_right} of {len(right)} answers are right: without both right and wrong ones nothing is ranked"
        )
    return float(roc_auc_score(right, confidence))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RankedArm:
    """The answers of one arm, from the most confident down, cut into groups of equal confidence."""

    order: IntArray  # [A] indices of the answered items among all
    starts: IntArray  # [G] where each group begins in `order`
    wrong: FloatArray  # [A] 1 - correctness
    right: IntArray  # [A] 1 from `RIGHT_FROM` up

    def aurc(self, counts: IntArray) -> FloatArray:
        """Return ``[R]`` areas under the risk-coverage curve of ``[R, N]`` resampled items."""
        drawn = counts[:, self.order]
        return tie_averaged_aurc(self._grouped(drawn), self._grouped(drawn * self.wrong))

    def auroc(self, counts: IntArray) -> FloatArray:
        """Return ``[R]`` areas under the ROC curve of ``[R, N]`` resampled items, NaN where one class is left."""
        drawn = counts[:, self.order]
        right = self._grouped(drawn * self.right)
        wrong = self._grouped(drawn) - right
        n_right, n_wrong = right.sum(axis=1), wrong.sum(axis=1)
        wrong_below = n_wrong[:, np.newaxis] - np.cumsum(wrong, axis=1)
        won = (right * (wrong_below + wrong / 2)).sum(axis=1)
        n_pairs = n_right * n_wrong
        share: FloatArray = np.divide(won, n_pairs, out=np.full(len(won), np.nan), where=n_pairs > 0)
        return share

    def _grouped(self, values: NDArray[Any]) -> NDArray[Any]:
        if len(self.starts) == len(self.order):  # no ties
            return values
        return np.add.reduceat(values, self.starts, axis=1)


def ranked_arm(confidence: FloatArray, correctness: FloatArray, is_answered: NDArray[np.bool_]) -> RankedArm:
    """Return the ranking of the answered among ``[N]`` items.

    Raises:
        UndefinedMetricError: nothing is answered.
    """
    answered = np.flatnonzero(is_answered)
    if not len(answered):
        raise UndefinedMetricError("nothing is answered with a confidence, so nothing is ranked")
    order = answered[np.argsort(-confidence[answered], kind="stable")]
    falls = np.diff(confidence[order]) != 0
    return RankedArm(
        order=order,
        starts=np.append(0, np.flatnonzero(falls) + 1),
        wrong=1.0 - correctness[order],
        right=(correctness[order] >= RIGHT_FROM).astype(np.int64),
    )


def ranking_resamples(
    arms: list[RankedArm], clusters: IntArray, *, n_resamples: int, rng: np.random.Generator
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Return, arm by arm, ``[R]`` bootstrapped AURCs and AUROCs, all arms over the same resampled items."""
    parts: list[list[tuple[FloatArray, FloatArray]]] = [[] for _ in arms]
    for counts in resampled_counts(clusters, n_resamples, rng):
        for arm, found in zip(arms, parts, strict=True):
            found.append((arm.aurc(counts), arm.auroc(counts)))
    for found in parts:
        aurcs, aurocs = zip(*found, strict=True)
        yield np.concatenate(aurcs), np.concatenate(aurocs)


def percentile_interval(resamples: FloatArray, confidence: float) -> Interval:
    """Return the percentile interval of ``[R]`` resampled values; NaN ones are left out.

    Returns:
        No bounds where more than one resample in twenty is undefined.
    """
    defined = resamples[np.isfinite(resamples)]
    tail = (1.0 - confidence) / 2.0
    low, high = None, None
    if len(defined) and len(defined) >= _ENOUGH_DEFINED * len(resamples):
        low, high = (float(bound) for bound in np.quantile(defined, [tail, 1.0 - tail]))
    return Interval(low=low, high=high, confidence=confidence, n_resamples=len(defined))
