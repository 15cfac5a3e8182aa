"""Percentiles of one signal, in bounded memory however long a run is.

The values are kept as they are up to ``EXACT_VALUES`` (nine hours at 2 Hz); beyond that counts of buckets are kept
whose bounds grow by a fixed ratio (as DDSketch: Masson, Rim and Lee, PVLDB 12, 2019), and a percentile is then off by
at most ``RELATIVE_ERROR`` of itself. Number, least, mean and largest value are exact throughout.
"""

import math
from array import array
from collections import Counter
from collections.abc import Callable

from overnight.store.telemetry_record import SignalSummary

EXACT_VALUES = 65_536
RELATIVE_ERROR = 0.005
_RATIO = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_RATIO = math.log(_RATIO)
_SMALLEST = 1e-9  # below it a value is 0; no signal has such a unit
_DIGITS = 9  # significant ones that are written down


class SignalStats:
    """The values of one signal, as far as they are needed."""

    def __init__(self, exact_values: int = EXACT_VALUES) -> None:
        self._exact_values = exact_values
        self._values = array("d")  # those that are in no bucket yet
        self._buckets: dict[int, int] = {}
        self._n = 0  # of those in buckets, as what follows
        self._total = 0.0
        self._least, self._largest = math.inf, -math.inf

    def add(self, value: float) -> None:
        """Count a finite value in."""
        self._values.append(value)
        if len(self._values) > self._exact_values:
            self._fold()

    def summary(self) -> SignalSummary | None:
        """Return what is known, or None without a value."""
        if self._n:
            self._fold()
        n = self._n or len(self._values)
        if not n:
            return None
        total = self._total if self._n else math.fsum(self._values)
        least, largest = (self._least, self._largest) if self._n else (min(self._values), max(self._values))
        ordered = self._ordered()
        p50, p95, p99 = (
            min(max(_interpolated(ordered, n, share), least), largest) for share in (0.5, 0.95, 0.99)
        )
        return SignalSummary(
            n=n,
            min=_rounded(least),
            mean=_rounded(min(max(total / n, least), largest)),
            p50=_rounded(p50),
            p95=_rounded(p95),
            p99=_rounded(p99),
            max=_rounded(largest),
        )

    def _fold(self) -> None:
        """Put the values into buckets."""
        if not self._values:
            return
        self._n += len(self._values)
        self._total += math.fsum(self._values)
        self._least = min(self._least, *self._values)
        self._largest = max(self._largest, *self._values)
        for bucket, n in Counter(map(_bucket, self._values)).items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + n
        del self._values[:]

    def _ordered(self) -> Callable[[int], float]:
        """Return what gives the value of a 0-based rank."""
        if not self._n:
            return sorted(self._values).__getitem__
        ends: list[tuple[int, float]] = []
        n = 0
        for bucket in sorted(self._buckets):
            n += self._buckets[bucket]
            ends.append((n, _middle(bucket)))
        return lambda rank: next(value for end, value in ends if rank < end)


def _interpolated(value_of: Callable[[int], float], n: int, share: float) -> float:
    """Return a percentile as ``numpy.percentile`` has it by default (Hyndman and Fan, 1996, type 7)."""
    place = share * (n - 1)
    rank = math.floor(place)
    low = value_of(rank)
    return low if rank + 1 >= n else low + (place - rank) * (value_of(rank + 1) - low)


def _bucket(value: float) -> int:
    """Return the bucket of a value, ordered as values are: 0 for 0, else the number of its power with its sign."""
    if abs(value) < _SMALLEST:
        return 0
    place = math.ceil(math.log(abs(value) / _SMALLEST) / _LOG_RATIO) + 1
    return place if value > 0 else -place


def _middle(bucket: int) -> float:
    """Return the value of a bucket that is off by the same share of itself at both ends."""
    if not bucket:
        return 0.0
    size = _SMALLEST * 2 * _RATIO ** (abs(bucket) - 1) / (_RATIO + 1)
    return math.copysign(size, bucket)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
