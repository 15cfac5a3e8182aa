"""A question as its file has it, and the checks that every format shares."""

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from overnight.errors import UsageError
from overnight.ids import number_label

Place = int | str  # a line of a file, or a path inside a JSON document: data[3].paragraphs[2].qas[5]
_SHOWN_KEYS = 12
_WHOLE = re.compile(r"\s*[-+]?[0-9]{1,4000}\s*", re.ASCII)
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One question with its golds, cleaned; whether it can be an item of its dataset is not settled here."""

    place: Place
    question: str
    answers: tuple[str, ...]
    item_id: str | None = None  # None: the format has no ids, one is made of the content
    context: str | None = None
    wrong_answers: tuple[str, ...] = ()
    turns: tuple[tuple[str, str], ...] = ()  # role and text, where it is a conversation
    n_blank_answers: int = 0  # empty texts among the answers, left out and counted


def where(source: str, place: Place) -> str:
    """Return what stands before a message: ``file:line``, or the file and the path inside it."""
    return f"{source}:{place}" if isinstance(place, int) else f"{source}: {place}"


def clean_text(text: str) -> str:
    """Return a text with every run of white space as one space, and none at its ends."""
    return " ".join(text.split())


def found(value: Any) -> str:
    """Return a value as a message shows it."""
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Return the hint for a key that is not there: the nearest one, or all."""
    names = [clean_text(name) for name in known]
    near = difflib.get_close_matches(key, names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    more = ", ..." if len(names) > _SHOWN_KEYS else ""
    return f"there are: {', '.join(names[:_SHOWN_KEYS]) or 'none'}{more}"


def mapping(value: Any, at: str) -> Mapping[str, Any]:
    """Return a JSON object.

    Raises:
        UsageError: it is something else.
    """
    if not isinstance(value, Mapping):
        raise UsageError(f"{at}: found {found(value)}, wanted a JSON object")
    return value


def required(row: Mapping[str, Any], key: str, at: str) -> Any:
    """Return the value of a key.

    Raises:
        UsageError: the key is not there; the nearest one is named.
    """
    if key not in row:
        raise UsageError(f"{at}: no key {key!r}; {unknown_key(key, row)}")
    return row[key]


def text(row: Mapping[str, Any], key: str, at: str) -> str:
    """Return the cleaned text of a key.

    Raises:
        UsageError: it is missing, blank or no text.
    """
    value = required(row, key, at)
    if not isinstance(value, str) or not clean_text(value):
        raise UsageError(f"{at}: {key}: found {found(value)}, wanted a text")
    return clean_text(value)


def identifier(row: Mapping[str, Any], key: str, at: str) -> str:
    """Return an id, a text or a whole number, as a text.

    Raises:
        UsageError: it is missing, blank or something else.
    """
    value = required(row, key, at)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text(row, key, at)


def number_text(value: Any, key: str, at: str) -> str:
    """Return a number as the shortest text that reads back as the same one: 51.0 is ``51``.

    Raises:
        UsageError: it is neither a finite number nor the text of one.
    """
    is_number = isinstance(value, int | float | str) and not isinstance(value, bool)
    if is_number and _WHOLE.fullmatch(str(value)):
        return str(int(value))  # as a floating-point number, a large one would be another
    try:
        number = float(value) if is_number else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{at}: {key}: found {found(value)}, wanted a number")
    return number_label(number)


def texts(value: Any, key: str, at: str) -> tuple[str, ...]:
    """Return a list of texts as it stands, blanks and repeats included.

    Raises:
        UsageError: it is no list, or holds something else.
    """
    if (
        not isinstance(value, Sequence)
        or isinstance(value, str)
        or not all(isinstance(v, str) for v in value)
    ):
        raise UsageError(f"{at}: {key}: found {found(value)}, wanted a list of texts")
    return tuple(value)


def golds(answers: Iterable[str]) -> tuple[tuple[str, ...], int]:
    """Return the answers, cleaned, each once, in their order; and how many blank ones were left out."""
    cleaned = [clean_text(answer) for answer in answers]
    return tuple(dict.fromkeys(filter(None, cleaned))), cleaned.count("")
