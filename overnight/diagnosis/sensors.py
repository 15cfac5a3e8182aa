"""Sensor summaries of a trial: from the manifest, or else, of a run that never wrote them, from its samples."""

import csv
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from overnight.diagnosis.evidence import Signal

# Of these the extremes are used, and they are as bad while a model is loaded as while it generates. A mean over
# loading and waiting would say nothing of generating.
_BY_EXTREMES = (
    "gpu_memory_used_bytes",
    "gpu_process_memory_bytes",
    "gpu_temperature_c",
    "ram_available_bytes",
    "host_rss_bytes",
)
_NO_REASON = "none"
_BETWEEN_REASONS = "+"


class Sensed(NamedTuple):
    """What sensors said of a trial."""

    signals: Mapping[str, Signal]
    throttle: Mapping[str, float] | None  # share of the samples, by reason; None where nobody looked


def sensed_in_manifest(telemetry: Mapping[str, Any]) -> Sensed:
    """Return what a trial's record in the manifest says; a sensor that was not there is left out.

    Raises:
        KeyError, TypeError, ValueError: it is not a record of sensors.
    """
    machine = telemetry["machine"]
    found = machine.get("signals") or {}
    throttle = machine.get("throttle")
    return Sensed(
        {
            name: Signal(low=float(each["min"]), mean=float(each["mean"]), high=float(each["max"]))
            for name, each in found.items()
            if each is not None
        },
        None if throttle is None else {str(reason): float(share) for reason, share in throttle.items()},
    )


def sensed_in_samples(path: Path) -> Sensed:
    """Return what ``telemetry/<model>.csv`` says of all the time in which a model was held, row by row.

    Raises:
        OSError: the file is there and cannot be read.
    """
    values: dict[str, _Extremes] = {}
    reasons: Counter[str] = Counter()
    n_reasons = 0
    if path.is_file():
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            for row in csv.DictReader(file):
                for name in _BY_EXTREMES:
                    number = _number(row.get(name))
                    if number is not None:
                        values.setdefault(name, _Extremes()).add(number)
                if throttle := row.get("throttle"):
                    n_reasons += 1
                    reasons.update(set(throttle.split(_BETWEEN_REASONS)) - {_NO_REASON})
    throttled = {reason: n / n_reasons for reason, n in reasons.items()} if n_reasons else None
    return Sensed({name: each.signal() for name, each in values.items()}, throttled)


class _Extremes:
    def __init__(self) -> None:
        self._n = 0
        self._total = 0.0
        self._low, self._high = math.inf, -math.inf

    def add(self, value: float) -> None:
        self._n += 1
        self._total += value
        self._low, self._high = min(self._low, value), max(self._high, value)

    def signal(self) -> Signal:
        return Signal(low=self._low, mean=self._total / self._n, high=self._high)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
