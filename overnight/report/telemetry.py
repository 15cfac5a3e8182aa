"""What the machine did while a run ran: the columns of ``telemetry/*.csv``, thinned to what a line can show."""

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from overnight.telemetry.summary import combined
from overnight.telemetry.table import COLUMNS, read_samples

MOST_POINTS = 400
_TIMES = ("timestamp", "time", "t", "ts")
_GIB = 1 << 30
# What is drawn of a table of ours: signal -> (its name, its unit in the report).
_DRAWN = {
    "gpu_memory_used_bytes": ("GPU memory, GiB", _GIB),
    "gpu_utilization_percent": ("GPU utilisation, %", 1),
    "gpu_power_w": ("GPU power, W", 1),
    "gpu_temperature_c": ("GPU temperature, \u00b0C", 1),
    "cpu_percent": ("processor, %", 1),
    "ram_used_bytes": ("RAM in use, GiB", _GIB),
    "host_rss_bytes": ("engine in RAM, GiB", _GIB),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One measured column over time."""

    file: str
    name: str
    points: tuple[tuple[float, float], ...]  # (seconds since the first row, mean of the rows around it)
    n_rows: int
    low: float
    mean: float
    high: float


@dataclass(slots=True)
class _Thinned:
    """A mean per stretch of rows; when there are too many stretches, neighbours become one."""

    stretch: int = 1
    points: list[tuple[float, float]] = field(default_factory=list)
    open: list[tuple[float, float]] = field(default_factory=list)
    n_rows: int = 0
    total: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, second: float, value: float) -> None:
        self.n_rows += 1
        self.total += value
        self.low, self.high = min(self.low, value), max(self.high, value)
        self.open.append((second, value))
        if len(self.open) == self.stretch:
            self._close()

    def _close(self) -> None:
        self.points.append(_mean(self.open))
        self.open = []
        if len(self.points) >= 2 * MOST_POINTS:
            pairs = zip(self.points[::2], self.points[1::2], strict=False)
            self.points = [_mean(pair) for pair in pairs]
            self.stretch *= 2

    def series(self, file: str, name: str) -> Series:
        points = [*self.points, *([_mean(self.open)] if self.open else [])]
        return Series(
            file=file,
            name=name,
            points=tuple(points),
            n_rows=self.n_rows,
            low=self.low,
            mean=self.total / self.n_rows,
            high=self.high,
        )


def read_telemetry(folder: Path) -> tuple[Series, ...]:
    """Return the numeric columns of every table in a folder, in the order of names; memory stays flat.

    Of a table of ours some signals are drawn, over all devices together; of any other every column is.
    A row whose time or value is no finite number is left out; a table without a column of times is none.
    """
    return tuple(series for path in sorted(folder.glob("*.csv")) for series in _table(path))


def _table(path: Path) -> list[Series]:
    columns: dict[str, _Thinned] = {}
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.DictReader(file)
        names = [name for name in rows.fieldnames or () if name]
        time = next((name for name in names if name.lower() in _TIMES), None)
        if time is None:
            return []
        if tuple(names) == COLUMNS:
            return _samples(path)
        start: float | None = None
        for row in rows:
            second = _second(row[time] or "")
            if second is None:
                continue
            start = second if start is None else start
            for name in names:
                value = _number(row[name] or "") if name != time else None
                if value is not None:
                    columns.setdefault(name, _Thinned()).add(second - start, value)
    return [columns[name].series(path.stem, name) for name in names if name in columns]


def _samples(path: Path) -> list[Series]:
    """Return the signals of a table that the sampler wrote, over all devices together."""
    drawn: dict[str, _Thinned] = {}
    start: float | None = None
    for sample in read_samples(path):
        second = sample.at.timestamp()
        start = second if start is None else start
        for name, value in combined(sample).items():
            if name in _DRAWN and value is not None:
                drawn.setdefault(name, _Thinned()).add(second - start, value / _DRAWN[name][1])
    return [drawn[name].series(path.stem, title) for name, (title, _) in _DRAWN.items() if name in drawn]


def _second(text: str) -> float | None:
    number = _number(text)
    if number is not None:
        return number
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _mean(points: Iterable[tuple[float, float]]) -> tuple[float, float]:
    some = list(points)
    return sum(x for x, _ in some) / len(some), sum(y for _, y in some) / len(some)
