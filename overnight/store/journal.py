"""The journal of a trial: append-only, one JSON line a draw, on disk before it counts.

It is the only truth about what is done. A process that is killed while it writes leaves a torn last line,
which is cut off at the next opening; its draw is then simply not done. Rows of failed requests are kept as
rows, never count as done, and are superseded by a later row of the same draw.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from overnight.errors import StoreError

Row = dict[str, Any]
_TAIL_BYTES = 1 << 16


class Journal:
    """An open journal; the only one who writes to its file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.n_bytes_cut = _cut_torn_line(path)
        self._file = path.open("ab", buffering=0)

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows and return when they are on disk."""
        # ASCII only: a lone surrogate in a reply survives as its escape.
        data = b"".join(
            json.dumps(row, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"
            for row in rows
        )
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
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return  # torn: it never counted
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict) or "custom_id" not in row or "status" not in row:
                raise StoreError(
                    f"{path}:{number}: not a journal row; restore the file, or delete the line to redo its draw"
                )
            yield row


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
