"""English numbers in words."""

import re
from typing import Final

_SMALL_WORDS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen
"""
_TENS_WORDS = "- - twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL: Final = {word: number for number, word in enumerate(_SMALL_WORDS.split())}
_TENS: Final = {word: 10 * number for number, word in enumerate(_TENS_WORDS.split()) if word != "-"}
_VALUES: Final = _SMALL | _TENS
_SCALES: Final = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_HUNDRED = 100
_BASE = 10
_WORD = re.compile(r"[^\W\d_]+")


def number_in_words(text: str) -> float | None:
    """Return the last cardinal number that a text has in words, or None where it has none.

    "fifty-one" is 51, "two hundred and six" is 206, "a million" is 1,000,000. "No one" is read as 1: ask only
    where a number is expected.
    """
    found: float | None = None
    total = current = 0
    is_open = False  # whether the word before belongs to a number
    for match in _WORD.finditer(text.lower()):
        word = match.group()
        if word in _VALUES:
            if not is_open or not _continues(current, _VALUES[word]):
                total = current = 0
            current += _VALUES[word]
        elif word == "hundred":
            if not is_open:
                total = current = 0
            current = max(current, 1) * _HUNDRED
        elif word in _SCALES:
            if not is_open:
                total = current = 0
            total += max(current, 1) * _SCALES[word]
            current = 0
        else:
            is_open = is_open and word == "and"
            continue
        is_open = True
        found = float(total + current)
    return found


def _continues(current: int, value: int) -> bool:
    """Return whether "twenty" goes on with "one" (and "one" not with "two")."""
    rest = current % _HUNDRED
    return rest == 0 or (rest in _TENS.values() and 0 < value < _BASE)
