"""TruthfulQA, in the shapes in which it is published: generation, multiple choice, and the official CSV."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from overnight.datasets.files import json_records
from overnight.datasets.formats.table import csv_rows, require_column
from overnight.datasets.rows import (
    Place,
    Row,
    golds,
    identifier,
    mapping,
    required,
    text,
    texts,
    unknown_key,
    where,
)
from overnight.errors import UsageError
from overnight.spec.dataset import DatasetSpec

_CSV_COLUMNS = ("Question", "Best Answer", "Correct Answers", "Incorrect Answers")
_CSV_SEPARATOR = ";"


def read_truthfulqa(spec: DatasetSpec, path: Path) -> Iterator[Row]:
    """Yield the questions of a TruthfulQA file: a JSON list, JSONL, or the official ``TruthfulQA.csv``.

    Raises:
        UsageError: a row is not of a published shape.
    """
    if path.suffix.lower() == ".csv":
        yield from _read_csv(spec, path)
        return
    for place, row in json_records(path):
        yield truthfulqa_row(spec, mapping(row, where(spec.source, place)), place)


def truthfulqa_row(spec: DatasetSpec, row: Mapping[str, Any], place: Place) -> Row:
    """Return one row of either shape; the best answer is the first gold, the other correct ones follow.

    Generation: ``best_answer``, ``correct_answers``, ``incorrect_answers``. Multiple choice: ``mc1_targets`` (whose
    one true choice is the best answer) and ``mc2_targets``, each ``{"choices": [...], "labels": [...]}`` or a
    mapping of choices to labels.

    Raises:
        UsageError: the row has neither, or its labels are not 0 and 1.
    """
    at = where(spec.source, place)
    if "correct_answers" in row or "best_answer" in row:
        best = row.get("best_answer")
        correct = (
            *([text(row, "best_answer", at)] if best is not None else []),
            *texts(required(row, "correct_answers", at), "correct_answers", at),
        )
        wrong = texts(required(row, "incorrect_answers", at), "incorrect_answers", at)
    elif "mc1_targets" in row or "mc2_targets" in row:
        sides = [_targets(row[key], key, at) for key in ("mc1_targets", "mc2_targets") if key in row]
        correct = tuple(choice for right, _ in sides for choice in right)
        wrong = tuple(choice for _, others in sides for choice in others)
    else:
        raise UsageError(
            f"{at}: no key 'correct_answers' or 'mc1_targets'; {unknown_key('correct_answers', row)}"
        )
    return _row(row, place, at, correct, wrong)


def _row(
    row: Mapping[str, Any], place: Place, at: str, correct: tuple[str, ...], wrong: tuple[str, ...]
) -> Row:
    answers, n_blank = golds(correct)
    wrong_answers, n_blank_wrong = golds(wrong)
    return Row(
        place=place,
        item_id=identifier(row, "id", at) if row.get("id") is not None else None,
        question=text(row, "question", at),
        answers=answers,
        wrong_answers=wrong_answers,
        n_blank_answers=n_blank + n_blank_wrong,
    )


def _targets(value: Any, key: str, at: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the choices that are right, and those that are wrong."""
    targets = mapping(value, f"{at}: {key}")
    if "choices" in targets:
        choices, labels = texts(targets["choices"], f"{key}.choices", at), targets.get("labels")
    else:
        choices, labels = tuple(targets), list(targets.values())
    if (
        not isinstance(labels, list)
        or len(labels) != len(choices)
        or any(label not in (0, 1) for label in labels)
    ):
        raise UsageError(f"{at}: {key}.labels: wanted {len(choices)} labels 0 or 1, one for each choice")
    pairs = list(zip(choices, labels, strict=True))
    return tuple(c for c, label in pairs if label), tuple(c for c, label in pairs if not label)


def _read_csv(spec: DatasetSpec, path: Path) -> Iterator[Row]:
    for number, cells in csv_rows(path, ",", lambda header: _require_columns(header, path)):
        at = where(spec.source, number)
        question, best, correct, wrong = (cells[column] for column in _CSV_COLUMNS)
        yield _row(
            {"question": question},
            number,
            at,
            tuple(filter(str.strip, (best, *correct.split(_CSV_SEPARATOR)))),
            tuple(filter(str.strip, wrong.split(_CSV_SEPARATOR))),
        )


def _require_columns(header: list[str], path: Path) -> None:
    for column in _CSV_COLUMNS:
        require_column(column, header, f"{path}:1", "")
