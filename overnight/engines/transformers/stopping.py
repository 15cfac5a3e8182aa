"""When an answer ends, and what of it is its text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Decode = Callable[[Sequence[int]], str]
_MARGIN_TOKENS = 8  # a stop string may begin in the middle of a token, and characters take several


@dataclass(frozen=True, slots=True)
class Ending:
    """Text before the first stop string."""

    text: str


def find_stop(ids: Sequence[int], stop: Sequence[str], decode: Decode) -> Ending | None:
    """Return the text before the first stop string once the tokens so far hold one, or None.

    Looked for after every token. A token is at least one byte, so a stop string that is complete with the last token
    lies in as many tokens as it has bytes; only those are decoded until one is found.

    Args:
        ids: generated so far, without a token that ends the answer.
        stop: strings, none of them empty.
        decode: ids to text.
    """
    if not stop:
        return None
    window = max(len(text.encode("utf-8", "replace")) for text in stop) + _MARGIN_TOKENS
    if len(ids) > window:
        tail = decode(ids[-window:])
        if not any(text in tail for text in stop):
            return None
    return cut_at_stop(decode(ids), stop)


def cut_at_stop(text: str, stop: Sequence[str]) -> Ending | None:
    """Return the text before the first of some strings; None where none of them is in it."""
    places = [place for place in (text.find(part) for part in stop) if place >= 0]
    return Ending(text[: min(places)]) if places else None
