"""Saying what there is to choose from."""

import difflib
from collections.abc import Sequence

_LISTED = 8


def nearest(word: str, known: Sequence[str], what: str) -> str:
    """Return the end of an error for a word that is not known: the nearest one, and what there is."""
    if not known:
        return f"there is no {what} at all"
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"no such {what}{hint} (there is {listed(known)})"


def listed(words: Sequence[str]) -> str:
    """Return some words in a row, and how many are left out."""
    rest = len(words) - _LISTED
    return ", ".join(words[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")
