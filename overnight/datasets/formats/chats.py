"""Conversations to be read, of which nothing is asked: rows with messages, each with its role and its text."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from overnight.datasets.files import json_lines
from overnight.datasets.formats.texts import own_id
from overnight.datasets.rows import Place, Row, found, mapping, required, where
from overnight.errors import UsageError
from overnight.spec.dataset import Columns, DatasetSpec

ROLES = ("system", "user", "assistant")


def read_chats(spec: DatasetSpec, path: Path) -> Iterator[Row]:
    """Yield the conversations of a JSONL file, one at a time.

    Raises:
        UsageError: the file cannot be read, or a row is no conversation.
    """
    for number, row in json_lines(path):
        yield chat_row(spec, row, number)


def chat_row(spec: DatasetSpec, row: Mapping[str, Any], place: Place) -> Row:
    """Return one row, of a file or of the hub; texts stay as they are, and other keys of a message are passed over.

    Raises:
        UsageError: it has no messages (the nearest column is named), or one of them has no role or no text.
    """
    columns, at = spec.columns or Columns(), where(spec.source, place)
    messages = required(row, columns.messages, at)
    if not isinstance(messages, list) or not messages:
        raise UsageError(f"{at}: {columns.messages}: found {found(messages)}, wanted a list of messages")
    turns = tuple(
        _turn(message, f"{at}: {columns.messages}[{number}]") for number, message in enumerate(messages)
    )
    return Row(
        place=place,
        item_id=own_id(row, columns, at),
        question="\n\n".join(f"{role}: {content}" for role, content in turns),
        answers=(),
        turns=turns,
    )


def _turn(value: Any, at: str) -> tuple[str, str]:
    message = mapping(value, at)
    role, content = required(message, "role", at), required(message, "content", at)
    if role not in ROLES:
        raise UsageError(f"{at}.role: found {found(role)}, wanted one of {', '.join(ROLES)}")
    if not isinstance(content, str) or not content.strip():
        raise UsageError(f"{at}.content: found {found(content)}, wanted a text")
    return role, content
