"""Means and resamples of values that come in clusters: questions about one passage are not independent."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overnight.errors import UndefinedMetricError
from overnight.stats.pairs import FloatArray
from overnight.stats.resampling import chunks

IntArray = NDArray[np.int64]
_TWO = 2  # values, or clusters, that it takes to have a spread


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusteredMean:
    """A mean with the standard error that its clusters allow; in the unit of the values."""

    n: int
    n_clusters: int
    mean: float
    sd: float | None  # of the values, ddof 1; None for one value
    se: float | None  # of the mean; None for one cluster, 0 where clusters cancel out or nothing varies

    @property
    def design_effect(self) -> float | None:
        """Variance of the mean over what independent values of this sd would give; None where sd is 0."""
        if self.sd is None or self.se is None or self.sd == 0.0:
            return None
        return 1.0 if self.n_clusters == self.n else (self.se * math.sqrt(self.n) / self.sd) ** 2

    @property
    def planning_sd(self) -> float | None:
        """The sd that independent values would have for the same standard error; None where there is none."""
        if self.n_clusters == self.n:
            return self.sd
        return None if self.se is None else self.se * math.sqrt(self.n)


def clustered_mean(values: FloatArray, clusters: IntArray) -> ClusteredMean:
    """Return the mean of ``[N]`` values and its cluster-robust standard error.

    sqrt(G / (G - 1) * sum over G clusters of (sum of deviations from the mean)^2) / N; where every value is
    its own cluster, that is sd / sqrt(N).

    Raises:
        UndefinedMetricError: there are no values.
        ValueError: a value is not finite.

    Source:
        Liang & Zeger (1986), Biometrika 73:13-22; Miller (2024), arXiv:2411.00640, for evaluations, without
        the factor G / (G - 1), which matters for few clusters.
    """
    n = len(values)
    if n == 0:
        raise UndefinedMetricError("no values: their mean is undefined")
    if not np.isfinite(values).all():
        raise ValueError("a value is not finite; leave out items in which a metric is undefined")
    mean = math.fsum(values) / n
    # A constant's mean may round away from it; then its deviations would look like spread.
    deviations = np.zeros(n) if np.ptp(values) == 0.0 else values - mean
    _, member = np.unique(clusters, return_inverse=True)
    sums = np.bincount(member, weights=deviations)
    n_clusters = len(sums)
    sd = math.sqrt(float(deviations @ deviations) / (n - 1)) if n >= _TWO else None
    se = None
    if n_clusters >= _TWO:
        largest = float(np.abs(deviations).max())
        sums[np.abs(sums) < n * np.finfo(float).eps * largest] = 0.0  # what rounding leaves of a zero
        se = math.sqrt(n_clusters / (n_clusters - 1) * float(sums @ sums)) / n
    return ClusteredMean(n=n, n_clusters=n_clusters, mean=mean, sd=sd, se=se)


def resampled_counts(clusters: IntArray, n_resamples: int, rng: np.random.Generator) -> Iterator[IntArray]:
    """Yield ``[chunk, N]`` counts: how often each of N items is in a resample of whole clusters.

    G clusters are drawn with replacement from the G there are; what is drawn depends on the clusters' sorted
    labels, not on the order of the items.
    """
    _, member = np.unique(clusters, return_inverse=True)
    n_clusters = int(member.max()) + 1 if len(member) else 0
    for part in chunks(n_resamples, len(clusters)):
        n_rows = part.stop - part.start
        drawn = rng.integers(n_clusters, size=(n_rows, n_clusters))
        drawn += np.arange(n_rows)[:, np.newaxis] * n_clusters
        counts = np.bincount(drawn.ravel(), minlength=n_rows * n_clusters).reshape(n_rows, n_clusters)
        yield counts[:, member]
