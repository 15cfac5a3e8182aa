"""What a log of another tool says, whichever tool wrote it."""

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from overnight.errors import UsageError

SHOWN_CHARS = 400  # of an item's text; the whole of it is in the log
_KEY_DIGITS = 16
_SHOWN_VALUE = 60  # characters of a value in an error


class IdentifyBy(StrEnum):
    """What makes two rows of two logs the same item."""

    CONTENT = "content"  # what is asked; names and positions of items change between versions of a dataset
    ID = "id"  # the id that the tool gave it, and the gold answer


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedItem:
    """An item as a person recognises it."""

    item_id: str
    text: str  # the first `SHOWN_CHARS` characters
    target: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRow:
    """One item of one log, before it has its key."""

    content: str  # equal texts are equal items
    item: LoggedItem
    scores: Mapping[str, Any]  # metric -> what the log says, not yet read


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemLog:
    """One system on one task: a score by metric and item, None where the item was not scored."""

    system: str
    made: str | None  # when; tells two logs of one system apart
    source: Path
    task: str | None  # None: the file does not say
    identified_by: str  # in words
    items: Mapping[str, LoggedItem]  # by key
    scores: Mapping[str, Mapping[str, float | None]]  # by metric, by key
    not_numeric: Mapping[str, str] = field(default_factory=dict)  # metric -> a value that is no number
    is_higher_better: Mapping[str, bool] = field(default_factory=dict)  # by metric, where the log says so
    notes: tuple[str, ...] = ()


def content_key(value: Any) -> str:
    """Return 16 hex digits of the sha256 of a value's JSON with sorted keys.

    The order in which a version of a dataset lists the fields of a document is no part of its identity.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:_KEY_DIGITS]


def keyed(rows: Iterable[LogRow]) -> tuple[dict[str, LogRow], int]:
    """Return the rows by key, and how many items have the content of an earlier one.

    A dataset may hold the same question twice. The second by id gets the key of the first and ``#2``, so that
    the n-th of one log meets the n-th of another.
    """
    by_content: dict[str, list[LogRow]] = defaultdict(list)
    for row in rows:
        by_content[row.content].append(row)
    result: dict[str, LogRow] = {}
    for content, same in by_content.items():
        same.sort(key=lambda row: _natural(row.item.item_id))
        for number, row in enumerate(same, start=1):
            result[content if number == 1 else f"{content}#{number}"] = row
    return result, len(result) - len(by_content)


def number(value: Any) -> float | None:
    """Return a value of a log as a number; None where it is null or not finite: the item was not scored.

    Raises:
        ValueError: it is no number.
    """
    if value is None:
        return None
    if not isinstance(value, bool | int | float):
        shown = repr(value)
        raise ValueError(  # noqa: TRY004 - one error for every value that is no number
            f"{shown if len(shown) <= _SHOWN_VALUE else shown[:_SHOWN_VALUE] + '...'} is not a number"
        )
    return float(value) if math.isfinite(value) else None


def parsed_json(text: str | bytes, where: str) -> Any:
    """Return the value of a JSON text; ``NaN`` and ``Infinity``, which these tools write, become None.

    Raises:
        UsageError: it is not JSON.
    """
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except UnicodeDecodeError as error:
        raise UsageError(f"{where}: byte {error.start} is not UTF-8; restore the file") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not JSON ({error}); the file is cut off or is something else") from None


def excerpt(text: str) -> str:
    """Return the beginning of an item's text."""
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "\u2026"


def _natural(item_id: str) -> tuple[int, str]:
    """Return what sorts 9 before 10."""
    return len(item_id), item_id
