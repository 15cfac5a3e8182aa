"""SQuAD 1.1 and 2.0: articles, their paragraphs, and questions on each paragraph."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from overnight.datasets.files import json_document, list_at
from overnight.datasets.rows import Place, Row, golds, identifier, mapping, required, text, texts, where
from overnight.errors import UsageError
from overnight.spec.dataset import DatasetSpec


def read_squad(spec: DatasetSpec, path: Path) -> Iterator[Row]:
    """Yield the questions of an official SQuAD file, with the ids that its evaluator uses.

    A question without gold answers is unanswerable; a file that says ``is_impossible`` has to agree. Golds keep the
    order of the file, each once. ``plausible_answers`` are no golds and are not read.

    Raises:
        UsageError: the file is not of this shape; the place is named as ``data[0].paragraphs[1].qas[2]``.

    Source:
        The official ``dev-v2.0.json`` and ``evaluate-v2.0.py`` (Rajpurkar et al. 2018).
    """
    document = mapping(json_document(path), spec.source)
    for a, article in enumerate(list_at(document.get("data"), path, "data")):
        for p, paragraph in enumerate(_children(article, "paragraphs", path, f"data[{a}]")):
            place = f"data[{a}].paragraphs[{p}]"
            context = text(
                mapping(paragraph, where(spec.source, place)), "context", where(spec.source, place)
            )
            for q, question in enumerate(_children(paragraph, "qas", path, place)):
                yield _question(question, context, f"{place}.qas[{q}]", spec.source)


def squad_row(spec: DatasetSpec, row: Mapping[str, Any], place: Place) -> Row:
    """Return a row of the hub, whose answers are one object of lists: ``{"text": [...], "answer_start": [...]}``.

    Raises:
        UsageError: the row is not of this shape.
    """
    at = where(spec.source, place)
    answers, n_blank = golds(texts(required(mapping(row.get("answers"), at), "text", at), "answers.text", at))
    return Row(
        place=place,
        item_id=identifier(row, "id", at),
        question=text(row, "question", at),
        context=text(row, "context", at),
        answers=answers,
        n_blank_answers=n_blank,
    )


def _question(value: Any, context: str, place: str, source: str) -> Row:
    at = where(source, place)
    question = mapping(value, at)
    listed = list_at(required(question, "answers", at), source, f"{place}.answers")
    spans = [
        required(mapping(span, f"{at}.answers[{n}]"), "text", f"{at}.answers[{n}]")
        for n, span in enumerate(listed)
    ]
    answers, n_blank = golds(texts(spans, "answers", at))
    _require_agreement(question, answers, at)
    return Row(
        place=place,
        item_id=identifier(question, "id", at),
        question=text(question, "question", at),
        context=context,
        answers=answers,
        n_blank_answers=n_blank,
    )


def _require_agreement(question: Mapping[str, Any], answers: tuple[str, ...], at: str) -> None:
    is_impossible = question.get("is_impossible")  # SQuAD 1.1 has none
    if is_impossible is None:
        return
    if not isinstance(is_impossible, bool):
        raise UsageError(f"{at}: is_impossible: found {is_impossible!r}, wanted true or false")
    if is_impossible == bool(answers):
        raise UsageError(
            f"{at}: is_impossible is {str(is_impossible).lower()}, and there are {len(answers)} gold answers; "
            "correct one of the two"
        )


def _children(value: Any, key: str, path: Path, place: str) -> list[Any]:
    return list_at(mapping(value, where(str(path), place)).get(key), path, f"{place}.{key}")
