"""Which of K texts to keep: by the vector itself, which only a study has, or without it, as a user must.

Every selector gives the chance of each draw to be kept at each number of draws, over all sets of K (`RecoveryTally.add`
takes it). By a score of its own (error, log-probability) that is exact for every K, from ranks. Agreement is with the
other draws of the *set*, since those outside it would not have been paid for: the sets are gone through where they are
few, which they are for K near 1 and near the number of draws, and drawn where they are many.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overnight.best_of_k.order_statistics import rank_weights
from overnight.errors import UndefinedMetricError
from overnight.stats.pairs import FloatArray

_PAIR = 2
_TIE = 1e-12  # of the largest agreement: sums closer than this are equal, so rounding decides nothing


class Selector(StrEnum):
    """How the text that is kept is chosen."""

    ORACLE = "oracle"  # the lowest error: needs the vector, so it bounds the others
    LOG_PROBABILITY = "log_probability"  # the text that the decoder finds likeliest, which favours short ones
    MEAN_LOG_PROBABILITY = "mean_log_probability"  # the same for the mean over its tokens, which does not
    SELF_CONSISTENCY = "self_consistency"  # the reconstruction with the highest mean cosine to the others
    MEDOID = "medoid"  # the reconstruction with the smallest sum of distances to the others

    @property
    def sees_target(self) -> bool:
        """True where it cannot be used without knowing the answer."""
        return self is Selector.ORACLE


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kept:
    """The chance of each draw to be kept."""

    weights: FloatArray  # [K, n]; rows sum to 1
    n_sets: tuple[int, ...]  # K: how many sets of draws were gone through; 0 where ranks made that needless
    is_exact: tuple[bool, ...]  # K: over all sets, and not over some that were drawn


def by_error(errors: FloatArray, ks: Sequence[int]) -> Kept:
    """Return what the oracle keeps: the lowest of ``[n]`` errors, exactly; the rest as in `rank_weights`.

    Raises:
        UndefinedMetricError: there are too few draws.
        ValueError: an error is infinite, or a K below 1.
    """
    return Kept(weights=rank_weights(errors, ks), n_sets=(0,) * len(ks), is_exact=(True,) * len(ks))


def by_score(scores: FloatArray, ks: Sequence[int]) -> Kept:
    """Return what is kept by a score that a draw has by itself: the highest, exactly.

    Args:
        scores: ``[n]``, such as the decoder's log-probability of the text in nats; NaN where a draw failed. The sum
            over tokens favours short texts, the mean over tokens does not: which one it is belongs in the report.
        ks: numbers of draws.

    Raises:
        UndefinedMetricError: there are too few draws.
        ValueError: a score is infinite, or a K below 1.
    """
    return by_error(-np.asarray(scores, dtype=np.float64), ks)


def by_agreement(
    agreement: FloatArray, ks: Sequence[int], *, rng: np.random.Generator, n_sets: int = 256
) -> Kept:
    """Return what is kept by agreement with the rest of a set: the highest sum, shared by draws that tie.

    Where C(n, K) is at most ``n_sets`` all sets are gone through. Otherwise the first K of ``n_sets`` random orders
    of the draws are, the same orders for every K: unbiased, and smooth in K. With K of 1 there is nothing to agree
    with, with K of 2 both agree alike: for both the chances are equal, and known without a set.

    Args:
        agreement: ``[n, n]``, symmetric; NaN in the row and the column of a draw that failed, which is told by
            the diagonal; what else is on that is not looked at.
        ks: numbers of draws.
        rng: of one vector, such as ``stream(seed, "best-of-k sets", vector)``; moved only where sets are drawn.
        n_sets: how many to go through, at most.

    Raises:
        UndefinedMetricError: there are too few draws.
        ValueError: it is not square and symmetric, a K or ``n_sets`` is below 1.
    """
    agreement = np.array(agreement, dtype=np.float64)
    if agreement.ndim != _PAIR or agreement.shape[0] != agreement.shape[1]:
        raise ValueError(f"agreement of shape {agreement.shape}; want [n, n]")
    if not len(ks) or min(ks) < 1 or n_sets < 1:
        raise ValueError(f"K of {list(ks)}, {n_sets} sets; want at least one, each at least 1")
    n_all = len(agreement)
    usable = np.flatnonzero(~np.isnan(agreement.diagonal()))
    np.fill_diagonal(agreement, 0.0)
    among = agreement[np.ix_(usable, usable)]
    if not np.isfinite(among).all() or not np.array_equal(among, among.T):
        raise ValueError("agreement of draws that succeeded is not finite, or not symmetric")
    n = len(usable)
    if n < max(ks):
        raise UndefinedMetricError(
            f"the best of {max(ks)} takes {max(ks)} draws; there are {n}"
            + (f", {n_all - n} more failed" if n < n_all else "")
        )
    weights, gone_through, is_exact = np.zeros((len(ks), n_all)), [], []
    orders: NDArray[np.intp] | None = None
    for row, k in enumerate(ks):
        is_small = comb(n, k) <= n_sets
        if k <= _PAIR:
            weights[row, usable] = 1.0 / n
        elif is_small:
            weights[row, usable] = _chances(among, _all_sets(n, k))
        else:
            if orders is None:
                orders = np.argsort(rng.random((n_sets, n)), axis=1)
            weights[row, usable] = _chances(among, orders[:, :k])
        gone_through.append(0 if k <= _PAIR else comb(n, k) if is_small else n_sets)
        is_exact.append(k <= _PAIR or is_small)
    return Kept(weights=weights, n_sets=tuple(gone_through), is_exact=tuple(is_exact))


def cosine_agreement(reconstructions: NDArray[Any]) -> FloatArray:
    """Return ``[n, n]`` cosines of ``[n, D]`` reconstructions, for self-consistency.

    NaN for a draw that failed (a row with NaN) or is zero. After Wang et al. (2023), arXiv:2203.11171: the answer that
    most samples arrive at; vectors are never equal, so cosines stand for votes.
    """
    rows = np.asarray(reconstructions, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    directions = rows / np.where(lengths > 0.0, lengths, np.nan)
    return _symmetric(directions @ directions.T)


def medoid_agreement(reconstructions: NDArray[Any]) -> FloatArray:
    """Return ``[n, n]`` Euclidean distances of ``[n, D]`` reconstructions, below 0, for the medoid.

    NaN for a draw that failed (a row with NaN). Not squared: of squared distances the medoid is the one next to the
    mean, which a single far draw moves.

    Source:
        Kaufman & Rousseeuw (1990), Finding Groups in Data, chapter 2.
    """
    rows = np.asarray(reconstructions, dtype=np.float64)
    rows = rows - np.nanmean(rows, axis=0) if len(rows) and not np.isnan(rows).all() else rows
    squares = np.square(rows).sum(axis=1)
    return -np.sqrt(_symmetric(np.maximum(squares[:, np.newaxis] + squares - 2.0 * rows @ rows.T, 0.0)))


@lru_cache(maxsize=64)
def _all_sets(n: int, k: int) -> NDArray[np.intp]:
    return np.array(list(combinations(range(n), k)), dtype=np.intp)


def _symmetric(values: FloatArray) -> FloatArray:
    return np.asarray((values + values.T) / 2.0)


def _chances(among: FloatArray, sets: NDArray[np.intp]) -> FloatArray:
    """Return ``[n]``: how often each draw is the one that agrees most with its set, over ``[M, k]`` sets."""
    n = len(among)
    is_in = np.zeros((len(sets), n))
    np.put_along_axis(is_in, sets, 1.0, axis=1)
    sums = np.where(is_in > 0.0, is_in @ among, -np.inf)
    tie = _TIE * n * np.abs(among).max()
    is_best = sums >= sums.max(axis=1, keepdims=True) - tie
    return np.asarray((is_best / is_best.sum(axis=1, keepdims=True)).mean(axis=0))
