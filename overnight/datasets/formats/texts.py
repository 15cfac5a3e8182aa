"""Texts to be read, of which nothing is asked: paragraphs of a file, or rows with a text each."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from overnight.datasets.files import json_lines, text_lines
from overnight.datasets.rows import Place, Row, clean_text, found, identifier, required, where
from overnight.errors import UsageError
from overnight.spec.dataset import Columns, DatasetSpec


def read_texts(spec: DatasetSpec, path: Path) -> Iterator[Row]:
    """Yield the texts of a file: the rows of a ``.jsonl``, the paragraphs of any other.

    Paragraphs stand between blank lines, and their lines are joined by a space.

    Raises:
        UsageError: the file cannot be read, or a row has no text.
    """
    if path.suffix.lower() == ".jsonl":
        for number, row in json_lines(path):
            yield text_row(spec, row, number)
        return
    begins, paragraph = 0, ""
    for number, line in text_lines(path):
        if cleaned := clean_text(line):
            begins, paragraph = (begins, f"{paragraph} {cleaned}") if paragraph else (number, cleaned)
        elif paragraph:
            yield Row(place=begins, question=paragraph, answers=())
            paragraph = ""
    if paragraph:
        yield Row(place=begins, question=paragraph, answers=())


def text_row(spec: DatasetSpec, row: Mapping[str, Any], place: Place) -> Row:
    """Return one row, of a file or of the hub; the text stays as it is, but for white space at its ends.

    Raises:
        UsageError: it has no text (the nearest column is named).
    """
    columns, at = spec.columns or Columns(), where(spec.source, place)
    value = required(row, columns.text, at)
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{at}: {columns.text}: found {found(value)}, wanted a text")
    return Row(place=place, item_id=own_id(row, columns, at), question=value.strip(), answers=())


def own_id(row: Mapping[str, Any], columns: Columns, at: str) -> str | None:
    """Return a row's own id; None where it has none, and no column is named for it.

    Raises:
        UsageError: it is neither a text nor a whole number.
    """
    column = columns.id or ("id" if row.get("id") not in (None, "") else None)
    return identifier(row, column, at) if column else None
