"""The journal of a trial: append-only, one JSON line a draw, on disk before it counts.

It is the only truth about what is done. A process that is killed while it writes leaves a torn last line,
which is cut off at the next opening; its draw is then simply not done. Rows of failed requests are kept as
rows, never count as done, and are superseded by a later row of the same draw.

Each line ends with a check of what stands before it, so that a row that was changed, or two that ran into each other,
are found out. Rows of an earlier version have none, and are read as they stand.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zlib import crc32

from overnight.errors import StoreError

Row = dict[str, Any]
_TAIL_BYTES = 1 << 16
_CHECK = b',"check":"........"}\n'  # what a line ends with; eight hexadecimal digits are in place of the dots
_DIGITS = slice(-11, -3)
_ANY = ord(".")
_MOST_FLIPPED = 3  # bytes of the other thirteen, where it still was meant to be a check


def line_of(row: Row) -> bytes:
    """Return the line of a row, with its check at the end.

    Raises:
        ValueError: a number in it is not finite.
    """
    # ASCII only: a lone surrogate in a reply survives as its escape.
    body = json.dumps(row, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")
    return body[:-1] + b',"check":"%08x"}\n' % crc32(body)


def parse_line(line: bytes) -> Any:
    """Return what a line of a journal says, without its check.

    Raises:
        ValueError: it is not JSON, or not what was written.
    """
    try:
        value = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not _has_check(line):
        if isinstance(value, dict) and "check" in value:
            raise ValueError("its check is damaged")
        return value
    if crc32(line[: -len(_CHECK)] + b"}") != int(line[_DIGITS], 16):
        raise ValueError("not what was written")
    del value["check"]
    return value


def _has_check(line: bytes) -> bool:
    """True where a line ends with a check, False where it ends with something else.

    Raises:
        ValueError: it ends with what all but is one.
    """
    end = line[-len(_CHECK) :]
    n_other = sum(a != b for a, b in zip(end, _CHECK, strict=False) if b != _ANY)
    if 0 < n_other <= _MOST_FLIPPED:
        raise ValueError("its check is damaged")
    return n_other == 0


class Journal:
    """An open journal; the only one who writes to its file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.n_bytes_cut = _cut_torn_line(path)
        self._file = path.open("ab", buffering=0)

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows and return when they are on disk."""
        data = b"".join(map(line_of, rows))
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_rows(path: Path) -> Iterator[Row]:
    """Yield a journal's rows one at a time, in the order they were written; a torn last line is passed over.

    Raises:
        StoreError: a line that is not the last one is not a row; the journal was changed by somebody else.
    """
    if not path.exists():
        return
    was_checked = is_checked = False
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return  # torn: it never counted
            try:
                row = parse_line(line)
                was_checked, is_checked = is_checked, _has_check(line)
            except ValueError:
                row = None
            if not _is_row(row) or (was_checked and not is_checked):
                raise StoreError(
                    f"{path}:{number}: not a journal row; restore the file, or delete the line to redo its draw"
                )
            yield row


def _is_row(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("custom_id", "status"))


def is_done(row: Row) -> bool:
    """True for the row of a request that was answered."""
    return bool(row["status"] == "ok")


def finished_ids(path: Path) -> set[str]:
    """Return the custom ids of the draws that are done."""
    return {row["custom_id"] for row in read_rows(path) if is_done(row)}


def _cut_torn_line(path: Path) -> int:
    """Cut off what follows the last newline; return how many bytes that was."""
    if not path.exists():
        return 0
    with path.open("r+b") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - _TAIL_BYTES)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            file.truncate(end)
            os.fsync(file.fileno())
        return size - end
