"""Reading a dataset file into items; a row that cannot be an item is an error with its line."""

import codecs
import json
from collections.abc import Iterator
from typing import Any

from overnight.errors import UsageError
from overnight.records import Item, ItemType
from overnight.spec.dataset import DatasetSpec


def clean_text(text: str) -> str:
    """Return a text with every run of white space as one space, and none at its ends."""
    return " ".join(text.split())


def read_items(spec: DatasetSpec) -> list[Item]:
    """Return the items of a dataset in the order of its file.

    Raises:
        UsageError: the file is missing or empty, a row is not an item, or an id stands twice.
    """
    items: list[Item] = []
    lines: dict[str, int] = {}
    for number, row in _rows(spec):
        item = _item(spec, row, f"{spec.path}:{number}")
        if item.item_id in lines:
            raise UsageError(
                f"{spec.path}:{number}: id {item.item_id!r} stands on line {lines[item.item_id]} already; "
                "give every item an id of its own"
            )
        lines[item.item_id] = number
        items.append(item)
    if not items:
        raise UsageError(f"{spec.path}: no items in it; dataset {spec.name!r} needs at least one")
    return items


def _rows(spec: DatasetSpec) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with spec.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)  # noqa: PLW2901 - an editor's mark, no part of the data
                if line.strip():
                    yield number, _row(line, f"{spec.path}:{number}")
    except FileNotFoundError:
        raise UsageError(f"{spec.path}: no such file; dataset {spec.name!r} names it") from None
    except OSError as error:
        raise UsageError(f"{spec.path}: cannot be read ({error.strerror})") from None


def _row(line: bytes, where: str) -> dict[str, Any]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{where}: byte {error.start + 1} of the line is not UTF-8; save the file as UTF-8"
        ) from None
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{where}: not JSON ({error.msg}); one object a line") from None
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, lists thousands deep: no data set has them.
        raise UsageError(f"{where}: not JSON that can be read ({error}); one object a line") from None
    if not isinstance(row, dict):
        raise UsageError(f"{where}: found {text[:40]!r}, wanted a JSON object")
    return row


def _item(spec: DatasetSpec, row: dict[str, Any], where: str) -> Item:
    known = {"id", "question", "answers", "context"}
    for key in row:
        if key not in known:
            raise UsageError(f"{where}: unknown key {key!r}; known keys: {', '.join(sorted(known))}")
    question = _text(row, "question", where)
    answers = row.get("answers")
    if not isinstance(answers, list) or not all(isinstance(a, str) and a.strip() for a in answers):
        raise UsageError(f"{where}: answers: found {answers!r}, wanted a list of texts")
    is_open = spec.type is ItemType.OPEN
    if not is_open and not answers:
        raise UsageError(f"{where}: answers: empty; a closed-book item needs at least one gold answer")
    if not is_open and row.get("context") is not None:
        raise UsageError(f"{where}: context: not allowed in a closed-book dataset; set type: open")
    return Item(
        dataset=spec.name,
        item_id=_text(row, "id", where),
        type=spec.type,
        question=question,
        answers=tuple(clean_text(answer) for answer in answers),
        context=_text(row, "context", where) if is_open else None,
    )


def _text(row: dict[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and key == "id":
        value = str(value)
    if not isinstance(value, str) or not clean_text(value):
        found = "nothing" if value is None else repr(value)
        raise UsageError(f"{where}: {key}: found {found}, wanted a text")
    return clean_text(value)
