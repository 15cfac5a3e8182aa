"""Items that somebody has prepared: the frozen items of a run, or the files of the scripts of old.

Those have ``open_book.jsonl`` (``dataset, id, context, question, answers, is_unanswerable``) and
``closed_book.jsonl`` (``dataset, id, question, answers``).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from overnight.errors import UsageError
from overnight.records import AnswerRule, Item, ItemType

# The three datasets of the old files; those rows name no rule. All others are scored as SQuAD is.
_RULES = {"triviaqa": AnswerRule.TRIVIAQA}
_TYPES = {"open_book.jsonl": ItemType.OPEN, "closed_book.jsonl": ItemType.CLOSED}


def prepared_files(folder: Path) -> list[Path]:
    """Return the files of items in a run folder, in its ``items``, or in a folder of prepared files; by name.

    Raises:
        UsageError: there is none.
    """
    for place in (folder / "items", folder):
        if files := sorted(place.glob("*.jsonl")):
            return files
    raise UsageError(
        f"{folder}: no items here; wanted a run folder, or a folder with open_book.jsonl, closed_book.jsonl or "
        "other files of prepared items"
    )


def read_prepared(path: Path) -> Iterator[tuple[int, Item]]:
    """Yield line number and item of a file, one at a time.

    Raises:
        UsageError: a line is not an item.
    """
    try:
        # An editor may have put a byte order mark in front.
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, _item(_row(line, f"{path}:{number}"), path, number)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 ({error.reason}); save the file as UTF-8") from None


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise UsageError(f"{where}: found {line.strip()[:40]!r}, wanted a JSON object; the file may be cut")
    return row


def _item(row: dict[str, Any], path: Path, number: int) -> Item:
    where = f"{path}:{number}"
    identifier = row.get("item_id", row.get("id"))
    if not isinstance(identifier, str | int) or isinstance(identifier, bool):
        raise UsageError(f"{where}: id: found {identifier!r}, wanted a text")
    dataset = _text(row, "dataset", where)
    try:
        item_type = ItemType(row["type"]) if "type" in row else _type_of(row, path)
        rule = AnswerRule(row["rule"]) if "rule" in row else _RULES.get(dataset, AnswerRule.SQUAD)
    except ValueError as error:
        raise UsageError(f"{where}: {error}; was this file written by a newer version?") from None
    context = row.get("context")
    if item_type is ItemType.OPEN:
        context = _text(row, "context", where)
    answers = _texts(row, "answers", where)
    if row.get("is_unanswerable") and answers:
        raise UsageError(f"{where}: is_unanswerable is set and there are answers; take out one of the two")
    return Item(
        dataset=dataset,
        item_id=str(identifier),
        type=item_type,
        question=_text(row, "question", where),
        answers=answers,
        context=context,
        rule=rule,
        wrong_answers=_texts(row, "wrong_answers", where),
    )


def _type_of(row: dict[str, Any], path: Path) -> ItemType:
    """Return how an old row is asked: as its file says, or else by whether it has a passage."""
    return _TYPES.get(path.name, ItemType.OPEN if row.get("context") else ItemType.CLOSED)


def _text(row: dict[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{where}: {key}: found {value!r}, wanted a text")
    return value


def _texts(row: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = row.get(key) or []
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise UsageError(f"{where}: {key}: found {value!r}, wanted a list of texts")
    return tuple(value)
