"""Pairs that stand or fall together: questions about one passage are not so many independent questions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overnight.stats.pairs import FloatArray

Codes = NDArray[np.intp]  # [n_pairs], which cluster each pair belongs to


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClusterSums:
    """What each cluster adds to a mean; in one order, whatever the order of the pairs."""

    sums: FloatArray  # [n_clusters]
    sizes: FloatArray  # [n_clusters], numbers of pairs

    @property
    def n_clusters(self) -> int:
        """Number of independent units."""
        return len(self.sums)

    @property
    def mean(self) -> float:
        """Mean over the pairs: the ratio of the sums to the sizes."""
        return float(self.sums.sum() / self.sizes.sum())


def cluster_codes(keys: Sequence[str], clusters: Mapping[str, str] | None) -> Codes | None:
    """Return the cluster of each item, or None where every item is one of its own.

    An item that ``clusters`` does not name, or names as empty, is a cluster of its own.
    """
    if not clusters:
        return None
    names = [(True, clusters[key]) if clusters.get(key) else (False, key) for key in keys]
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    if len(numbers) == len(keys):
        return None
    return np.fromiter((numbers[name] for name in names), dtype=np.intp, count=len(names))


def cluster_sums(values: FloatArray, codes: Codes | None = None) -> ClusterSums:
    """Add ``[N]`` values up by cluster; without codes each value is a cluster of its own.

    Raises:
        ValueError: there are not as many codes as values.
    """
    if codes is None:
        return ClusterSums(sums=np.sort(values), sizes=np.ones(len(values)))
    if len(codes) != len(values):
        raise ValueError(f"{len(codes)} cluster codes for {len(values)} values; want one each")
    # Sorted inside each cluster too: sums of floats depend on their order.
    order = np.lexsort((values, codes))
    _, starts, sizes = np.unique(codes[order], return_index=True, return_counts=True)
    sums = np.add.reduceat(values[order], starts)
    by_content = np.lexsort((sizes, sums))
    return ClusterSums(sums=sums[by_content], sizes=sizes[by_content].astype(np.float64))
