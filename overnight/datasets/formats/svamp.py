"""SVAMP: word problems with a number for an answer."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from overnight.datasets.files import json_records
from overnight.datasets.rows import Place, Row, identifier, mapping, number_text, required, text, where
from overnight.spec.dataset import DatasetSpec


def read_svamp(spec: DatasetSpec, path: Path) -> Iterator[Row]:
    """Yield the problems of an official SVAMP file.

    Raises:
        UsageError: a row is not of this shape.
    """
    for place, row in json_records(path):
        yield svamp_row(spec, mapping(row, where(spec.source, place)), place)


def svamp_row(spec: DatasetSpec, row: Mapping[str, Any], place: Place) -> Row:
    """Return one problem: the body and the question are the question, the number is the one gold.

    Raises:
        UsageError: the row is not of this shape, or its answer is no number.
    """
    at = where(spec.source, place)
    return Row(
        place=place,
        item_id=identifier(row, "ID", at),
        question=f"{text(row, 'Body', at)} {text(row, 'Question', at)}",
        answers=(number_text(required(row, "Answer", at), "Answer", at),),
    )
