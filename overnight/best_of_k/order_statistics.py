"""What the best of K draws is expected to be, for every K, from one set of draws.

N texts of a vector hold C(N, K) sets of K. The mean of the best over all of them is unbiased for the best of K fresh
draws, has less variance than any one set, and costs N draws for every K together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from overnight.errors import UndefinedMetricError
from overnight.stats.pairs import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOfK:
    """The expected best of K draws of one vector."""

    k: int
    value: float | None
    undefined_because: str | None = None


def expected_lowest(errors: FloatArray) -> FloatArray:
    """Return the expected lowest of K out of N draws, for K = 1 .. N.

    The sum over j of e_(j) C(N - j, K - 1) / C(N, K), e_(1) being the lowest; written as e_(1) plus every gap
    between neighbours times the chance that all K lie above it. No term is negative and none grows with K, so the
    values fall, or stay, with K also after rounding, and equal errors give exactly themselves.

    Args:
        errors: ``[N + missing]``, lower is better; NaN where a draw failed, which is then no draw.

    Returns:
        ``[N]`` in the unit of the errors: of K = 1 (the mean) to K = N (the lowest). More draws than there are say
        nothing and have no value.

    Raises:
        ValueError: not one dimension, or an error is infinite.

    Source:
        David & Nagaraja (2003), Order Statistics, 3rd ed., section 2.1 (without replacement); as unbiased estimate
        in Chen et al. (2021), arXiv:2107.03374, for pass@k, which is this with errors of 0 and 1.
    """
    drawn = np.sort(_usable(errors))
    if not len(drawn):
        return drawn
    gaps = np.diff(drawn)
    return np.asarray(drawn[0] + (_chances_above(len(drawn)) * gaps).sum(axis=1))


def expected_highest(scores: FloatArray) -> FloatArray:
    """Return the expected highest of K out of N draws, for K = 1 .. N; all else as in `expected_lowest`."""
    return -expected_lowest(-np.asarray(scores, dtype=np.float64))


def best_at(errors: FloatArray, ks: Sequence[int]) -> tuple[BestOfK, ...]:
    """Return the expected lowest of K draws for some K, with the reason where there are too few draws.

    Raises:
        ValueError: as `expected_lowest`; a K is below 1.
    """
    _require_counts(ks)
    found = expected_lowest(errors)
    n_missing = len(errors) - len(found)
    return tuple(
        BestOfK(k=k, value=float(found[k - 1]))
        if k <= len(found)
        else BestOfK(k=k, value=None, undefined_because=_too_few(k, len(found), n_missing))
        for k in ks
    )


def rank_weights(errors: FloatArray, ks: Sequence[int]) -> FloatArray:
    """Return the chance of every draw to be the best of K.

    Whatever else a draw has (its residual, its cosine), the sum of it times these weights is what the best of K is
    expected to have. Draws with one error share their chance, so the order of the draws is immaterial.

    Args:
        errors: ``[n]``, lower is better; NaN where a draw failed, which is never the best.
        ks: the numbers of draws, K of them.

    Returns:
        ``[K, n]``; rows sum to 1.

    Raises:
        UndefinedMetricError: there are fewer draws than the largest of ``ks``.
        ValueError: as `expected_lowest`; a K is below 1.
    """
    _require_counts(ks)
    usable = np.flatnonzero(~np.isnan(errors))
    drawn = _usable(errors)
    if len(drawn) < max(ks):
        raise UndefinedMetricError(_too_few(max(ks), len(drawn), len(errors) - len(drawn)))
    order = np.argsort(drawn, kind="stable")
    _, tie, sizes = np.unique(drawn, return_inverse=True, return_counts=True)
    by_rank = _chances_at(len(drawn))[np.asarray(ks) - 1]
    starts = np.cumsum(sizes) - sizes
    shared = np.add.reduceat(by_rank, starts, axis=1) / sizes  # of each distinct error
    weights = np.zeros((len(ks), len(errors)))
    weights[:, usable[order]] = shared[:, tie[order]]
    return weights


@lru_cache(maxsize=16)
def _chances_above(n: int) -> FloatArray:
    """Return ``[n, n - 1]``: the chance that K of n draws without replacement all lie above rank 1 .. n - 1.

    C(n - j, K) / C(n, K), by its ratio from one K to the next, which is at most 1 and so lets nothing grow.
    """
    ranks = np.arange(1, n)
    chances = np.empty((n, n - 1))
    chances[0] = (n - ranks) / n
    for k in range(1, n):
        chances[k] = chances[k - 1] * np.maximum(n - ranks - k, 0) / (n - k)
    chances.setflags(write=False)
    return chances


@lru_cache(maxsize=16)
def _chances_at(n: int) -> FloatArray:
    """Return ``[n, n]``: the chance that the lowest of K of n draws has rank 1 .. n, C(n - j, K - 1) / C(n, K)."""
    k = np.arange(1, n + 1)[:, np.newaxis]
    ranks = np.arange(1, n)
    steps = np.maximum(n - ranks - k + 1, 0) / (n - ranks)
    chances = np.cumprod(np.concatenate([k / n, steps], axis=1), axis=1)
    chances.setflags(write=False)
    return chances


def _usable(errors: FloatArray) -> FloatArray:
    values: NDArray[np.float64] = np.asarray(errors, dtype=np.float64)
    if values.ndim != 1 or np.isinf(values).any():
        raise ValueError(f"errors of shape {values.shape}, want [n] and finite; NaN is a draw that failed")
    return values[~np.isnan(values)]


def _require_counts(ks: Sequence[int]) -> None:
    if not len(ks) or min(ks) < 1:
        raise ValueError(f"K of {list(ks)}; want at least one, each at least 1")


def _too_few(k: int, n_usable: int, n_missing: int) -> str:
    failed = f", {n_missing} more failed" if n_missing else ""
    return f"the best of {k} takes {k} draws; there are {n_usable}{failed}"
