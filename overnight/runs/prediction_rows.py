"""The rows of a table of predictions that somebody has, from wherever it comes."""

import csv
import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overnight.errors import StoreError, UsageError
from overnight.ids import item_key, split_custom_id
from overnight.records import Arm, Condition, FinishReason, ItemType
from overnight.runs.tables import PREDICTION_COLUMNS

_NEEDED: Final = ("custom_id", "response_text")
# Other services' words for the same thing.
_REASONS: Final = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "end_turn": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "error": FinishReason.ERROR,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRow:
    """One row: which draw it is, and what was replied."""

    line: int  # of the file, the last one of the row
    custom_id: str
    item_key: str
    type: ItemType
    arm: Arm
    sample_index: int
    text: str
    finish_reason: FinishReason | None  # None: not said, or in a word that is not known here
    mean_logprob: float | None  # nats


def read_prediction_rows(path: Path) -> Iterator[PredictionRow]:
    """Yield the rows of a table with at least ``custom_id`` and ``response_text``, in whatever order they are.

    A byte order mark, Windows line ends, blank lines and further columns do no harm. ``finish_reason`` and
    ``mean_logprob`` are read where they are there.

    Raises:
        UsageError: the file is missing or not such a table, a row is cut, or a custom id is none.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.reader(file, strict=True)
            columns = next(table, [])
            places = _places(path, columns)
            for row in table:
                if row:
                    yield _row(f"{path}:{table.line_num}", table.line_num, row, len(columns), places)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; --pred-csv names a table of predictions") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 ({error.reason}); save the table as CSV UTF-8") from None
    except csv.Error as error:
        raise UsageError(
            f"{path}:{table.line_num}: not CSV ({error}); the table ends inside a quoted reply, or was edited: "
            "write it again, or delete the row to score the others"
        ) from None


def ends_with_line(path: Path) -> bool:
    """Return whether a file's last line is ended; where it is not, the last reply may have been cut."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 1))
        return file.read(1) in {b"\n", b"\r"}


def _places(path: Path, columns: Sequence[str]) -> dict[str, int]:
    """Return where each known column is."""
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise UsageError(f"{path}:1: column {twice[0]!r} stands twice; take one out")
    for needed in _NEEDED:
        if needed not in columns:
            near = difflib.get_close_matches(needed, columns, n=1, cutoff=0.5)
            hint = f"rename {near[0]!r}?" if near else f"found {', '.join(columns)[:200] or 'an empty file'}"
            raise UsageError(f"{path}:1: no column {needed!r}; {hint}")
    return {column: columns.index(column) for column in PREDICTION_COLUMNS if column in columns}


def _row(where: str, line: int, row: list[str], n_columns: int, places: dict[str, int]) -> PredictionRow:
    if len(row) != n_columns:
        raise UsageError(
            f"{where}: {len(row)} fields, {n_columns} wanted; the table is cut or was edited here: write it again, "
            "or delete the row to score the others"
        )
    name = row[places["custom_id"]]
    try:
        dataset, item_id, condition, temperature, index, item_type = split_custom_id(name)
        arm = Arm(condition=Condition(condition), temperature=temperature)
        kind = ItemType(item_type)
    except (StoreError, ValueError) as error:
        raise UsageError(
            f"{where}: custom_id {name[:200]!r}: {error}; wanted dataset|item_id|condition|temp|sample_index|type"
        ) from None
    if not (math.isfinite(temperature) and temperature >= 0):
        raise UsageError(f"{where}: custom_id {name!r}: temperature {temperature}, wanted 0 or more")
    if index < 0:
        raise UsageError(f"{where}: custom_id {name!r}: sample index {index}, wanted 0 or more")
    for column, said in (("condition", condition), ("type", item_type)):
        if column in places and row[places[column]] not in ("", said):
            raise UsageError(
                f"{where}: {column} is {row[places[column]]!r} and custom_id says {said!r}; "
                "the columns do not belong together"
            )
    return PredictionRow(
        line=line,
        custom_id=name,
        item_key=item_key(dataset, item_id),
        type=kind,
        arm=arm,
        sample_index=index,
        text=row[places["response_text"]],
        finish_reason=_REASONS.get(_optional(row, places, "finish_reason").strip().lower()),
        mean_logprob=_logprob(_optional(row, places, "mean_logprob"), where),
    )


def _optional(row: list[str], places: dict[str, int], column: str) -> str:
    return row[places[column]] if column in places else ""


def _logprob(text: str, where: str) -> float | None:
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value <= 0:  # also what is no number
        raise UsageError(f"{where}: mean_logprob {text!r}, wanted a logarithm of a probability: 0 or less")
    return value if math.isfinite(value) else None
