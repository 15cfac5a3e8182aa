"""NQ-Open: JSONL with ``question`` and the list ``answer``, on the hub as in the official file."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from overnight.datasets.files import json_records
from overnight.datasets.rows import Place, Row, golds, identifier, mapping, required, text, texts, where
from overnight.spec.dataset import DatasetSpec


def read_nq_open(spec: DatasetSpec, path: Path) -> Iterator[Row]:
    """Yield the questions of an official NQ-Open file; they have no ids.

    Raises:
        UsageError: a row is not of this shape.
    """
    for place, row in json_records(path):
        yield nq_open_row(spec, mapping(row, where(spec.source, place)), place)


def nq_open_row(spec: DatasetSpec, row: Mapping[str, Any], place: Place) -> Row:
    """Return one row; golds keep their order, each once.

    Raises:
        UsageError: the row is not of this shape.
    """
    at = where(spec.source, place)
    answers, n_blank = golds(texts(required(row, "answer", at), "answer", at))
    return Row(
        place=place,
        item_id=identifier(row, "id", at) if row.get("id") is not None else None,
        question=text(row, "question", at),
        answers=answers,
        n_blank_answers=n_blank,
    )
