"""Small files beside a trial's tables: what another model said of its answers, a line an item."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from overnight.errors import StoreError
from overnight.store.files import atomic_writer


def write_side_rows(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write rows, each with its ``item_key``; return how many there are."""
    n_rows = 0
    with atomic_writer(path) as file:
        for n_rows, row in enumerate(rows, start=1):  # noqa: B007 - the last number is the count
            file.write(json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n")
    return n_rows


def read_side_rows(path: Path) -> dict[str, dict[str, Any]]:
    """Return rows by their item; nothing where the file is not there.

    Raises:
        StoreError: a line is not a row.
    """
    rows: dict[str, dict[str, Any]] = {}
    if not path.is_file():
        return rows
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
                rows[row["item_key"]] = row
            except (ValueError, KeyError, TypeError):
                raise StoreError(f"{path}:{number}: not a row of an item; measure the trial again") from None
    return rows
