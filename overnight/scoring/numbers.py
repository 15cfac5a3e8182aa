"""The number that a reply ends on, and whether it is the right one."""

import math
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from overnight.scoring.number_words import number_in_words

# Numbers this close are the same number: 0.3333333 is a third, 0.33 is not; 22,090,604 is not 22,090,603.
TOLERANCE: Final = 1e-6
_ROUNDING: Final = 1e-12  # relative: what floats lose

_SCALES: Final = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_VULGAR = "\u00bc-\u00be\u2150-\u215e"
_DIGITS = r"(?:\d{1,3}(?:[,\u00a0\u2009\u202f]\d{3})+(?!\d)|\d+)"
_NUMBER = re.compile(
    rf"""
    (?<![\w.])  # no part of a word or of 1.2.3
    (?:(?<!\))(?P<sign>[-\u2212]))?  # after a digit or a bracket it is a subtraction
    [$\u20ac\u00a3\u00a5]?(?P<inner_sign>(?<=[$\u20ac\u00a3\u00a5])[-\u2212])?
    (?:
        (?P<mixed>\d+)\s+(?P<mixed_top>\d+)/(?P<mixed_bottom>\d+)(?![\d/])
      | (?P<before_vulgar>\d+)?\s?(?P<vulgar>[{_VULGAR}])
      | (?P<plain>{_DIGITS}(?:\.\d+)?(?:[eE][-+]?\d+\b)?|\.\d+)(?:\s*/\s*(?P<bottom>\d+)(?![\d/]))?
    )
    (?:\s+(?P<scale>{"|".join(_SCALES)})\b)?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*(-?\d+)\s*\}\s*\{\s*(\d+)\s*\}")
_GROUPING = str.maketrans("", "", ",\u00a0\u2009\u202f")
_MARKER = re.compile(r"\banswers?\b[^.\n\d]{0,60}?(?:\bis\b|\bare\b|[:=])|\#{4}|\\boxed\{", re.IGNORECASE)
# What comes after one of these explains the answer: "51 dollars, because 76 - 25 ...".
_END_OF_CLAUSE = re.compile(
    r"\n|[.!?;](?=\s|$)"
    r"|\b(?:because|since|as|when|after|if|given|for|from|in|out\ of|by|with|on|at|per|each|every)\b",
    re.IGNORECASE,
)


def number_match(reply: str, golds: Iterable[str]) -> float | None:
    """Return 1.0 where the number of a reply is that of a gold answer, 0.0 where it is another one or none.

    Equal within `TOLERANCE`: ``51``, ``51.0``, ``$51.00`` and ``51 apples`` are one number, ``50%`` and ``50``
    too, ``50%`` and ``0.5`` are not.

    Returns:
        None where no gold answer has a number in it: nothing could be right.
    """
    wanted = _gold_numbers(tuple(golds))
    if not wanted:
        return None
    found = reply_number(reply)
    return float(found is not None and any(_is_same(found, gold) for gold in wanted))


def reply_number(text: str) -> float | None:
    r"""Return the number that a reply gives as its answer, or None where it has none.

    After the last "answer is", "answer:", ``####`` or ``\boxed{``: the last number of that clause, which ends
    with its sentence, its line, or a word that starts an explanation ("because", "for", ...). Without such a
    marker, or with no number after it: the last number of the text. Where the text has no digit, the last
    number that is written in words.

    Reads signs, currency signs, grouping by comma or narrow space, decimals, ``1e3``, fractions (``3/4``,
    ``1 1/2``, ``½``, ``\frac{3}{4}``) and "2 million"; units and per cent signs are passed over. English
    notation: ``51,5`` is read as two numbers.
    """
    plain = _FRACTION.sub(r" \1/\2 ", text)
    markers = list(_MARKER.finditer(plain))
    values = _values(_clause(plain[markers[-1].end() :])) if markers else []
    values = values or _values(plain)
    return values[-1] if values else number_in_words(text)


def _clause(text: str) -> str:
    """Return a text up to the end of the clause that its first number stands in."""
    first = _NUMBER.search(text)
    if first is None:
        return ""
    end = _END_OF_CLAUSE.search(text, first.end())
    return text[: end.start()] if end else text


def _values(text: str) -> list[float]:
    found = (_value(match) for match in _NUMBER.finditer(text))
    return [value for value in found if value is not None]


def _value(match: re.Match[str]) -> float | None:
    """Return what a match of `_NUMBER` says; None for a division by zero and for what no float can hold."""
    part = match.groupdict()
    if part["vulgar"]:
        number = float(part["before_vulgar"] or 0) + unicodedata.numeric(part["vulgar"])
    elif part["mixed"]:
        fraction = _ratio(part["mixed_top"], part["mixed_bottom"])
        number = math.nan if fraction is None else float(part["mixed"]) + fraction
    else:
        ratio = _ratio(part["plain"].translate(_GROUPING), part["bottom"] or "1")
        number = math.nan if ratio is None else ratio
    number *= _SCALES[part["scale"].lower()] if part["scale"] else 1.0
    if not math.isfinite(number):
        return None
    return -number if part["sign"] or part["inner_sign"] else number


def _ratio(top: str, bottom: str) -> float | None:
    divisor = float(bottom)
    return float(top) / divisor if divisor else None


@lru_cache(maxsize=256)
def _gold_numbers(golds: tuple[str, ...]) -> tuple[float, ...]:
    found = (reply_number(gold) for gold in golds)
    return tuple(number for number in found if number is not None)


def _is_same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_ROUNDING, abs_tol=TOLERANCE)
