"""What a number is to be compared with: reconstructions that know nothing of the vector.

The oracle keeps the best of K also where all K are nonsense, and the best of much nonsense is not bad. So a baseline
has as many draws as the lens has, and is put through the same `by_error` and `RecoveryTally`.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overnight.best_of_k.sums import RecoverySums
from overnight.errors import UndefinedMetricError
from overnight.stats.pairs import FloatArray
from overnight.stats.rng import stream

Indices = NDArray[np.intp]


class Baseline(StrEnum):
    """Reconstructions that know nothing of the vector."""

    MEAN_VECTOR = "mean_vector"  # the mean of the vectors of all other sources
    SHUFFLED = "shuffled"  # all draws of one vector of another source
    OTHERS = "others"  # each draw that of another vector of another source


def mean_vector(sums: RecoverySums, without: str | None = None) -> FloatArray:
    """Return the mean ``[D]`` of the vectors, as the reconstruction of every vector that costs nothing.

    Args:
        sums: of the vectors; what they say of residuals is not looked at.
        without: a source to leave out, the one of the vector that is to be reconstructed: a mean that contains it
            knows a little of it.

    Raises:
        UndefinedMetricError: no vector is left.
    """
    times = np.array([source != without for source in sums.sources], dtype=np.float64)
    n = float(times @ sums.n)
    if not n:
        raise UndefinedMetricError(f"no vector is left without those of {without!r}, so there is no mean")
    return np.asarray(sums.origin + times @ sums.x / n)


def means_without_own(sums: RecoverySums) -> FloatArray:
    """Return ``[C, D]``: for the vectors of each source, in the order of the sums, `mean_vector` without that source.

    Raises:
        UndefinedMetricError: there are not two sources.
    """
    if len(sums.sources) < 2:  # noqa: PLR2004
        raise UndefinedMetricError(
            f"{len(sums.sources)} sources: without its own, no vector is left for a mean"
        )
    n = sums.n.sum() - sums.n
    return np.asarray(sums.origin + (sums.x.sum(axis=0) - sums.x) / n[:, np.newaxis])


def shuffled(sources: Sequence[str], seed: int) -> Indices:
    """Return whose texts each vector gets when texts are shuffled; nobody gets those of its own source.

    A permutation: every vector's texts are used once, all draws of it together. The vectors of each source are put
    side by side, sources and vectors in random order, and moved on by a random number that leads out of every source.

    Args:
        sources: ``[N]``, of all vectors in the order of their global index, not of a shard.
        seed: of the run.

    Returns:
        ``[N]`` indices of vectors.

    Raises:
        UndefinedMetricError: more than half of the vectors are of one source, so that no such permutation exists.
    """
    _, code, counts = np.unique(np.asarray(sources, dtype=np.str_), return_inverse=True, return_counts=True)
    n, largest = len(code), int(counts.max()) if len(counts) else 0
    if n == 0 or 2 * largest > n:
        raise UndefinedMetricError(
            f"{largest} of {n} vectors are of one source; to give each texts of another, at most half may be"
        )
    rng = stream(seed, "best-of-k baseline", "shuffled")
    order = np.lexsort((rng.permutation(n), rng.permutation(len(counts))[code]))
    shift = int(rng.integers(largest, n - largest + 1))
    donors = np.empty(n, dtype=np.intp)
    donors[order] = np.roll(order, -shift)
    return donors


def others(sources: Sequence[str] | NDArray[Any], vector: int, n_draws: int, seed: int) -> Indices:
    """Return the vectors whose texts one vector gets when each of its texts is of another vector.

    Drawn from the vectors of other sources, none twice while there are enough. Unlike `shuffled` the texts of a
    vector have nothing to do with each other: the better control for how much choosing alone does.

    Args:
        sources: ``[N]``, names or numbers, of all vectors in the order of their global index, not of a shard.
        vector: global index of the vector, which also names the random stream.
        n_draws: how many texts.
        seed: of the run.

    Returns:
        ``[n_draws]`` indices of vectors; of each its draw ``j`` is meant, j being the place in this list.

    Raises:
        UndefinedMetricError: there is no other source.
    """
    eligible = np.flatnonzero(np.asarray(sources) != sources[vector])
    if not len(eligible):
        raise UndefinedMetricError(f"all {len(sources)} vectors are of one source: there are no other texts")
    rng = stream(seed, "best-of-k baseline", "others", str(vector))
    if n_draws <= len(eligible):  # of many vectors only those that are wanted are drawn
        return np.asarray(rng.choice(eligible, n_draws, replace=False))
    rounds = [rng.permutation(eligible) for _ in range(-(-n_draws // len(eligible)))]
    return np.concatenate(rounds)[:n_draws]


def reconstructions_of(donors: Indices, draws: Indices, reconstructions: NDArray[Any]) -> NDArray[Any]:
    """Return ``[n, D]``: draw ``draws[j]`` of vector ``donors[j]`` from ``[N, n_max, D]``, which may be mapped.

    Raises:
        ValueError: there are not as many draws as donors.
    """
    if donors.shape != draws.shape:
        raise ValueError(f"{donors.shape} donors, {draws.shape} draws; want one each")
    return np.asarray(reconstructions[donors, draws])
