"""The user's own CSV and JSONL, with a mapping of columns."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from overnight.datasets.files import json_lines, lines
from overnight.datasets.rows import (
    Place,
    Row,
    clean_text,
    found,
    golds,
    identifier,
    number_text,
    text,
    unknown_key,
    where,
)
from overnight.errors import UsageError
from overnight.records import ItemType
from overnight.spec.dataset import Columns, DatasetSpec

_LONGEST_CELL = 2**30  # characters; the csv module's own limit of 131,072 is less than a long passage


def read_csv(spec: DatasetSpec, path: Path) -> Iterator[Row]:
    """Yield the rows of a CSV file with a header, one at a time.

    Raises:
        UsageError: a column is not there (the nearest is named), a row has more or fewer cells than the header, or a
            value is not what it should be.
    """
    columns = _Named.of(spec)

    def check(header: list[str]) -> None:
        for column in columns.wanted:
            require_column(column, header, where(spec.source, 1), columns.hint)

    for number, cells in csv_rows(path, columns.given.delimiter, check):
        yield columns.row(cells, number, where(spec.source, number))


def read_jsonl(spec: DatasetSpec, path: Path) -> Iterator[Row]:
    """Yield the rows of a JSONL file, one at a time; keys that no column names are passed over.

    Raises:
        UsageError: a row lacks a key (the nearest is named), or a value is not what it should be.
    """
    for number, row in json_lines(path):
        yield table_row(spec, row, number)


def table_row(spec: DatasetSpec, row: Mapping[str, Any], place: Place) -> Row:
    """Return one row, of a file or of the hub.

    Raises:
        UsageError: as ``read_jsonl``.
    """
    columns, at = _Named.of(spec), where(spec.source, place)
    for column in columns.wanted:
        require_column(column, list(row), at, columns.hint)
    return columns.row(row, place, at)


def require_column(column: str, header: list[str], at: str, hint: str) -> None:
    """Refuse a header that lacks a column.

    Raises:
        UsageError: it names the nearest column.
    """
    if column not in header:
        raise UsageError(f"{at}: no column {column!r}; {unknown_key(column, header)}{hint}")


def csv_rows(
    path: Path, delimiter: str, check_header: Callable[[list[str]], None]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a CSV file with the number of the line on which each begins.

    Raises:
        UsageError: there is no header, a column stands twice, a row is ragged, or a quote is never closed.
    """
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader((line for _, line in lines(path)), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    begins = 1
    try:
        for cells in reader:
            number, begins = begins, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                if twice := {column for column in header if header.count(column) > 1}:
                    raise UsageError(f"{path}:{number}: column {min(twice)!r} stands twice; rename one")
                check_header(header)
            elif len(cells) != len(header):
                raise UsageError(
                    f"{path}:{number}: {len(cells)} cells, the header has {len(header)}; "
                    "quote the cells that hold the delimiter or a line break"
                )
            else:
                yield number, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise UsageError(f"{path}:{begins}: not CSV ({error}); a quote that is never closed?") from None
    if header is None:
        raise UsageError(f"{path}: the file is empty; a header and rows were wanted")


class _Named:
    """The columns of a dataset by what they hold."""

    def __init__(self, given: Columns, is_open: bool) -> None:
        self.given = given
        self.context = given.context or ("context" if is_open else None)
        optional = (given.id, self.context, given.wrong_answers)
        self.wanted = [given.question, given.answers, *(column for column in optional if column is not None)]
        self.hint = "; say which column is which under `columns`"

    @classmethod
    def of(cls, spec: DatasetSpec) -> "_Named":
        return cls(spec.columns or Columns(), spec.type is ItemType.OPEN)

    def row(self, cells: Mapping[str, Any], place: Place, at: str) -> Row:
        given = self.given
        id_column = given.id or ("id" if cells.get("id") not in (None, "") else None)
        answers, n_blank = golds(self._answers(cells[given.answers], given.answers, at))
        wrong, n_blank_wrong = (
            golds(self._answers(cells[given.wrong_answers], given.wrong_answers, at))
            if given.wrong_answers
            else ((), 0)
        )
        if n_blank + n_blank_wrong:
            raise UsageError(f"{at}: {given.answers}: a blank answer; take it out")
        return Row(
            place=place,
            item_id=identifier(cells, id_column, at) if id_column else None,
            question=text(cells, given.question, at),
            answers=answers,
            context=text(cells, self.context, at) if self.context else None,
            wrong_answers=wrong,
        )

    def _answers(self, value: Any, column: str, at: str) -> list[str]:
        """Return the answers of a cell: a list, a JSON list, texts between separators, or the one text."""
        if value is None:
            return []
        if isinstance(value, str):
            if not value.strip():
                return []
            if self.given.separator is not None:
                return value.split(self.given.separator)
            if not value.lstrip().startswith("["):
                return [value]
            value = _json_list(value, column, at)
        listed = value if isinstance(value, list) else [value]
        return [_answer(answer, column, at) for answer in listed]


def _json_list(cell: str, column: str, at: str) -> list[Any]:
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list):
        raise UsageError(
            f"{at}: {column}: found {clean_text(cell)[:60]!r}, which begins like a JSON list and is none; "
            "correct it, or set columns.separator"
        )
    return value


def _answer(value: Any, column: str, at: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return number_text(value, column, at)
    raise UsageError(f"{at}: {column}: found {found(value)}, wanted a text, a number or a list of them")
