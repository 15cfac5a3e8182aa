"""TriviaQA: the official JSON, the rows of the hub, and text files of question TAB aliases."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from overnight.datasets.files import json_document, list_at, text_lines
from overnight.datasets.rows import Place, Row, clean_text, golds, mapping, required, text, texts, where
from overnight.errors import UsageError
from overnight.spec.dataset import DatasetSpec

_TSV_CELLS = 2
_MOST_QUOTINGS = 2  # in the public file, questions were written as CSV, and then the rows once more


def read_triviaqa(spec: DatasetSpec, path: Path) -> Iterator[Row]:
    """Yield the questions of an official TriviaQA file: ``Data``, with ``Question``, ``QuestionId`` and ``Answer``.

    Golds are the canonical value and its aliases, a sorted set.

    Raises:
        UsageError: the file is not of this shape.
    """
    document = mapping(json_document(path), spec.source)
    for n, value in enumerate(list_at(document.get("Data"), path, "Data")):
        place = f"Data[{n}]"
        at = where(spec.source, place)
        row = mapping(value, at)
        answer = mapping(required(row, "Answer", at), f"{at}.Answer")
        yield _row(row, place, at, "QuestionId", "Question", (answer, "Value", "Aliases"))


def triviaqa_row(spec: DatasetSpec, row: Mapping[str, Any], place: Place) -> Row:
    """Return a row of the hub (``question``, ``question_id``, ``answer`` with ``value`` and ``aliases``).

    Raises:
        UsageError: the row is not of this shape.
    """
    at = where(spec.source, place)
    answer = mapping(required(row, "answer", at), f"{at}: answer")
    return _row(row, place, at, "question_id", "question", (answer, "value", "aliases"))


def read_triviaqa_tsv(spec: DatasetSpec, path: Path) -> Iterator[Row]:
    """Yield the questions of a text file: question, TAB, a list of aliases as Python writes it.

    A cell that was quoted as in CSV is read as it was before. The list is read by ``ast.literal_eval``: it holds
    texts, and nothing in it is run.

    Raises:
        UsageError: a line has another number of cells, or its second one is not a list of texts.
    """
    for number, line in text_lines(path):
        if not line.strip():
            continue
        at = where(spec.source, number)
        cells = line.rstrip("\r\n").split("\t")
        if len(cells) != _TSV_CELLS:
            raise UsageError(
                f"{at}: found {len(cells)} cells between tabs, wanted a question and a list of aliases"
            )
        question, listed = map(_unquoted, cells)
        aliases, n_blank = golds(_aliases(listed, at))
        yield Row(
            place=number,
            question=text({"question": question}, "question", at),
            answers=tuple(sorted(aliases)),
            n_blank_answers=n_blank,
        )


def _row(
    row: Mapping[str, Any],
    place: Place,
    at: str,
    id_key: str,
    question_key: str,
    answer: tuple[Any, str, str],
) -> Row:
    answers, value_key, aliases_key = answer
    aliases, n_blank = golds(
        [required(answers, value_key, at), *texts(answers.get(aliases_key, []), aliases_key, at)]
        if isinstance(answers.get(value_key), str)
        else texts([answers.get(value_key)], value_key, at)
    )
    return Row(
        place=place,
        item_id=text(row, id_key, at),
        question=text(row, question_key, at),
        answers=tuple(sorted(aliases)),
        n_blank_answers=n_blank,
    )


def _unquoted(cell: str) -> str:
    for _ in range(_MOST_QUOTINGS):
        inner = cell[1:-1]
        if len(cell) < len('""') or cell[0] != '"' or cell[-1] != '"' or '"' in inner.replace('""', ""):
            break
        cell = inner.replace('""', '"')
    return cell


def _aliases(listed: str, at: str) -> tuple[str, ...]:
    try:
        value = ast.literal_eval(listed.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise UsageError(
            f"{at}: aliases: found {clean_text(listed)[:60]!r}, wanted a list of texts such as ['Paris', 'Paname']"
        ) from None
    return texts(value, "aliases", at)
