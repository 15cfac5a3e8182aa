"""Our own format: JSONL with ``id``, ``question``, ``answers`` and, for open-book items, ``context``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from overnight.datasets.files import json_lines
from overnight.datasets.rows import Row, clean_text, where
from overnight.errors import UsageError
from overnight.spec.dataset import DatasetSpec

_KEYS = ("answers", "context", "id", "question", "wrong_answers")


def read_items_file(spec: DatasetSpec, path: Path) -> Iterator[Row]:
    """Yield the rows of a file; every key is known and every value is what it should be.

    Raises:
        UsageError: a row is not one of ours.
    """
    for number, row in json_lines(path):
        at = where(spec.source, number)
        for key in row:
            if key not in _KEYS:
                raise UsageError(f"{at}: unknown key {key!r}; known keys: {', '.join(_KEYS)}")
        context = row.get("context")
        yield Row(
            place=number,
            item_id=_text(row, "id", at),
            question=_text(row, "question", at),
            answers=_texts(row, "answers", at),
            context=None if context is None else _text(row, "context", at),
            wrong_answers=_texts(row, "wrong_answers", at) if "wrong_answers" in row else (),
        )


def _texts(row: dict[str, Any], key: str, at: str) -> tuple[str, ...]:
    values = row.get(key)
    if not isinstance(values, list) or not all(isinstance(v, str) and v.strip() for v in values):
        raise UsageError(f"{at}: {key}: found {values!r}, wanted a list of texts")
    return tuple(clean_text(value) for value in values)


def _text(row: dict[str, Any], key: str, at: str) -> str:
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and key == "id":
        value = str(value)
    if not isinstance(value, str) or not clean_text(value):
        found = "nothing" if value is None else repr(value)
        raise UsageError(f"{at}: {key}: found {found}, wanted a text")
    return clean_text(value)
