"""The Hodges-Lehmann estimate of a shift, exact at any size."""

import struct

import numpy as np

from overnight.errors import UndefinedMetricError
from overnight.stats.pairs import FloatArray

_ALL_BUT_SIGN = 0x7FFF_FFFF_FFFF_FFFF


def hodges_lehmann(differences: FloatArray) -> float:
    """Return the median of the N (N + 1) / 2 Walsh averages (d_i + d_j) / 2, i <= j, in the unit of ``[N]``.

    The averages are never written out: how many lie at or below a value is counted from the sorted distinct
    differences, and halving the range of floating-point numbers finds the middle one in at most 64 counts.
    The result is exact, with N log N work a count and memory in N, also where most differences are equal.

    Raises:
        UndefinedMetricError: there are no differences.
        ValueError: a difference is not finite.

    Source:
        Hodges & Lehmann (1963), Ann Math Stat 34:598-611; counting as in Monahan (1984), ACM TOMS 10:265-270.
    """
    if len(differences) == 0:
        raise UndefinedMetricError("no pairs; there is no Hodges-Lehmann estimate")
    if not np.isfinite(differences).all():
        raise ValueError("a difference is not finite; leave out pairs in which a metric is undefined")
    sums = _PairSums(differences)
    lower = sums.order_statistic((sums.n_pairs + 1) // 2)
    if sums.n_pairs % 2 or sums.n_up_to(lower) > sums.n_pairs // 2:
        return lower / 2.0
    return (lower + sums.order_statistic(sums.n_pairs // 2 + 1)) / 4.0


class _PairSums:
    """The sums d_i + d_j, i <= j, by how many there are."""

    def __init__(self, differences: FloatArray) -> None:
        values, counts = np.unique(differences + 0.0, return_counts=True)  # + 0.0: no negative zero
        self._values = values
        self._counts = counts
        self._at_or_below = np.concatenate([[0], np.cumsum(counts)])
        self.n_pairs = len(differences) * (len(differences) + 1) // 2

    def n_up_to(self, bound: float) -> int:
        """Return how many sums are at most ``bound``."""
        values, last = self._values, len(self._values)
        ends = np.searchsorted(values, bound - values, side="right")
        # bound - v rounds otherwise than v + w does: move each end to where the sum itself says.
        while (too_far := (ends > 0) & (values + values[ends - 1] > bound)).any():
            ends[too_far] -= 1
        while (too_near := (ends < last) & (values + values[np.minimum(ends, last - 1)] <= bound)).any():
            ends[too_near] += 1
        # Ordered pairs (i, j) count a pair of different differences twice and one with itself once.
        ordered = int(np.sum(self._counts * self._at_or_below[ends]))
        with_itself = int(np.sum(self._counts[values + values <= bound]))
        return (ordered + with_itself) // 2

    def order_statistic(self, rank: int) -> float:
        """Return the sum of this rank, from 1."""
        low, high = _ordinal(2.0 * self._values[0]), _ordinal(2.0 * self._values[-1])
        while low < high:
            middle = (low + high) // 2
            if self.n_up_to(_number(middle)) >= rank:
                high = middle
            else:
                low = middle + 1
        return _number(low)


def _ordinal(number: float) -> int:
    """Return the place of a float among all floats: neighbours differ by 1."""
    bits: int = struct.unpack("<q", struct.pack("<d", number))[0]
    return bits if bits >= 0 else -(bits & _ALL_BUT_SIGN)


def _number(ordinal: int) -> float:
    number: float = struct.unpack("<d", struct.pack("<q", abs(ordinal)))[0]
    return number if ordinal >= 0 else -number
