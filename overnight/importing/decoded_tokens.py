"""Tokens that were decoded one at a time, and so may have lost the space before them or the character they share."""

from collections.abc import Sequence
from itertools import pairwise, takewhile
from typing import Final

_REPLACEMENT: Final = "\ufffd"


def pieces_of(tokens: Sequence[str], text: str) -> list[bytes]:
    """Return what each token wrote of a text, as far as that can be told.

    A token that was decoded alone has lost the space before it where the vocabulary puts spaces at the beginning of
    words; it gets the one that stands in the text back. Tokens that share a character decode to U+FFFD each; its bytes
    are shared out among them. Where the tokens do not spell the text in this way either, they are returned as they
    are, and nobody can say which of them count.

    Args:
        tokens: decoded one at a time, without those that end the answer.
        text: that they wrote, without the whitespace around it; what they wrote after it was cut off.
    """
    as_they_are = [_encoded(token) for token in tokens]
    if "".join(tokens).lstrip().startswith(text):
        return as_they_are
    pieces: list[bytes] = []
    place = 0
    while len(pieces) < len(tokens):
        rest = tokens[len(pieces) :]
        if place >= len(text) or not rest[0].strip():
            pieces.append(_encoded(rest[0]))  # behind the text, or a space of its own
            place += len(rest[0]) if text.startswith(rest[0], place) else 0
            continue
        n_parts = sum(1 for _ in takewhile(lambda token: _REPLACEMENT in token, rest))
        end = _end_of_parts(rest[n_parts:], text, place) if n_parts else _end_of(rest[0], text, place)
        if end is None:
            return as_they_are
        pieces += _shared(_encoded(text[place:end]), max(1, n_parts))
        place = end
    return pieces if place >= len(text) else as_they_are


def _end_of(token: str, text: str, place: int) -> int | None:
    """Return where a token ends that begins at a place or behind the whitespace there; None: it does not."""
    if text.startswith(token, place):
        return place + len(token)
    word = token.lstrip()
    start = place + len(text[place:]) - len(text[place:].lstrip())
    if text.startswith(word, start):
        return start + len(word)
    return len(text) if word.startswith(text[start:]) else None  # the text was cut inside it


def _end_of_parts(following: Sequence[str], text: str, place: int) -> int | None:
    """Return where characters end whose parts begin at a place: where the token behind them begins."""
    whole = next((token for token in following if token.strip()), None)
    if whole is None:
        return len(text)
    found = text.find(whole, place + 1)
    if found < 0:
        found = text.find(whole.lstrip(), place + 1)
    return place + len(text[place:found].rstrip()) if found >= 0 else None


def _shared(raw: bytes, n_parts: int) -> list[bytes]:
    bounds = [len(raw) * number // n_parts for number in range(n_parts + 1)]
    return [raw[start:end] for start, end in pairwise(bounds)]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
