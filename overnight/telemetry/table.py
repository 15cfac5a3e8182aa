"""``telemetry/<model>.csv``: one row a sample and device, appended while a model is held.

A sample without devices has one row with empty device columns. A stretch of the table is named by its first byte and
the byte behind it, which no clock can move.
"""

import io
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from overnight.errors import StoreError
from overnight.telemetry.sensors import (
    GPU_SIGNALS,
    SYSTEM_SIGNALS,
    DeviceReading,
    Sample,
    SystemReading,
)

COLUMNS = (
    "timestamp",
    "t_s",
    "period_s",
    "device",
    "board",
    "gpu_memory_total_bytes",
    *GPU_SIGNALS,
    "throttle",
    *SYSTEM_SIGNALS,
)
_NO_REASON = "none"
_BETWEEN_REASONS = "+"
_TIMESTAMP, _T_S, _PERIOD_S, _DEVICE, _BOARD, _TOTAL = range(6)
_GPU = tuple((name, COLUMNS.index(name)) for name in GPU_SIGNALS)
_THROTTLE = COLUMNS.index("throttle")
_SYSTEM = tuple((name, COLUMNS.index(name)) for name in SYSTEM_SIGNALS)
_HEADER = (",".join(COLUMNS) + "\n").encode("ascii")

Window = tuple[int, int]


class SampleTable:
    """An open table; every sample is with the system when ``append`` returns, so a crash loses none.

    Raises:
        OSError: the file cannot be made or opened.
        StoreError: it has other columns.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = path.open("ab", buffering=0)
        try:
            self._begin(path)
        except BaseException:
            self._file.close()
            raise

    def append(self, sample: Sample) -> None:
        """Add the rows of a sample.

        Raises:
            OSError: the disk is full, or gone.
        """
        self._write("".join(",".join(row) + "\n" for row in _rows(sample)).encode("utf-8", "replace"))

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def _begin(self, path: Path) -> None:
        with path.open("rb") as before:
            header = before.readline(10_000)
            if not header:
                self._write(_HEADER)
                return
            if header != _HEADER:
                raise StoreError(f"{path}: its columns are not those of this version; move it away")
            before.seek(-1, io.SEEK_END)
            if before.read() != b"\n":
                self._write(b"\n")  # a row was torn by a crash; it is none

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]


def table_size(path: Path) -> int:
    """Return how many bytes a table has; 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def read_samples(
    path: Path,
    window: Window | None = None,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Iterator[Sample]:
    """Yield the samples of a table, one at a time; rows that are torn or hold no sample are passed over.

    Args:
        path: of the table; a missing one has no samples.
        window: first byte and the byte behind; None is all of it.
        since: no samples before it.
        until: no samples from it on.
    """
    try:
        file = path.open("rb")
    except OSError:
        return
    with file:
        rows = (line.rstrip("\r\n").split(",") for line in _lines(file, window))
        rows = (row for row in rows if len(row) == len(COLUMNS))
        for _, group in groupby(rows, key=lambda row: row[:2]):
            sample = _sample(list(group))
            if sample is None or (since and sample.at < since) or (until and sample.at >= until):
                continue
            yield sample


def _lines(file: BinaryIO, window: Window | None) -> Iterator[str]:
    place, end = window or (0, None)
    if place:
        file.seek(place - 1)
        place += len(file.readline()) - 1  # to the beginning of a row
    for line in file:
        place += len(line)
        if end is not None and place > end:
            return
        if line.endswith(b"\n"):
            yield line.decode("utf-8", "replace")


def _rows(sample: Sample) -> Iterable[list[str]]:
    system = [_text(getattr(sample.system, name)) for name in SYSTEM_SIGNALS]
    first = [
        sample.at.isoformat(timespec="milliseconds"),
        f"{sample.t_s:.3f}",
        f"{sample.period_s:g}",
    ]
    if not sample.devices:
        yield [*first, *[""] * (4 + len(GPU_SIGNALS)), *system]
    for device in sample.devices:
        throttle = device.throttle
        yield [
            *first,
            _word(device.device),
            _word(device.board),
            _text(device.gpu_memory_total_bytes),
            *(_text(getattr(device, name)) for name in GPU_SIGNALS),
            "" if throttle is None else _BETWEEN_REASONS.join(throttle) or _NO_REASON,
            *system,
        ]


def _word(name: str) -> str:
    """Return a name without anything that would need quotes; a UUID has nothing of the kind."""
    return "".join(letter if letter.isalnum() or letter in "-_.:/" else "_" for letter in name)


def _text(value: float | None) -> str:
    if value is None:
        return ""
    return str(int(value)) if value == int(value) else f"{value:.3f}"


def _sample(rows: list[list[str]]) -> Sample | None:
    first = rows[0]
    try:
        return Sample(
            t_s=float(first[_T_S]),
            at=datetime.fromisoformat(first[_TIMESTAMP]),
            period_s=float(first[_PERIOD_S]),
            devices=tuple(_device(row) for row in rows if row[_DEVICE]),
            system=SystemReading(
                **{name: float(first[place]) if first[place] else None for name, place in _SYSTEM}
            ),
        )
    except ValueError:
        return None  # the header, or a row that somebody changed


def _device(row: list[str]) -> DeviceReading:
    total, throttle = row[_TOTAL], row[_THROTTLE]
    return DeviceReading(
        device=row[_DEVICE],
        board=row[_BOARD],
        gpu_memory_total_bytes=int(total) if total else None,
        throttle=tuple(r for r in throttle.split(_BETWEEN_REASONS) if r != _NO_REASON) if throttle else None,
        **{name: float(row[place]) if row[place] else None for name, place in _GPU},
    )
