"""Which characters of a scored text each generated token wrote.

Relevance is asked of the text without what one token wrote. Encoding the text anew would give other tokens than
those that were generated; their own bytes cannot.
"""

import codecs
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from overnight.errors import UndefinedMetricError

_DECODER = codecs.getincrementaldecoder("utf-8")


class Span(NamedTuple):
    """Characters ``start`` to ``end`` of a text, the end left out."""

    start: int
    end: int

    @property
    def is_empty(self) -> bool:
        """True where there are none."""
        return self.start >= self.end


def token_spans(pieces: Sequence[bytes], text: str) -> list[Span]:
    """Return the span of each piece in the text that is scored, in order.

    The text is what the pieces say, from the first character that is not whitespace to wherever it was cut (by a
    stop string, or whitespace). Tokens that share a character all have it in their spans; a token that wrote
    only what was cut off has an empty span at that end. All spans together cover the text without a gap.

    Args:
        pieces: the bytes of each generated token.
        text: as it is scored.

    Raises:
        UndefinedMetricError: the pieces do not begin with the text, whitespace before it aside.
    """
    written = b"".join(pieces)
    decoded = written.decode("utf-8", "replace")
    lead = _leading_whitespace(decoded) - _leading_whitespace(text)
    if not text:
        return [Span(0, 0)] * len(pieces)
    if lead < 0 or not decoded.startswith(text, lead):
        raise UndefinedMetricError(f"the tokens say {_short(decoded)}, the scored text is {_short(text)}")
    characters = range(len(written)) if written.isascii() else _characters(written)
    ends = list(accumulate(map(len, pieces)))
    return [
        _clipped(characters, end - len(piece), end, lead, len(text))
        for piece, end in zip(pieces, ends, strict=True)
    ]


def _characters(written: bytes) -> Sequence[int]:
    """Return ``[n_bytes]``: the index of the character that each byte is part of.

    What is not UTF-8 becomes replacement characters, and each byte belongs to the one that stands for it.
    """
    decoder = _DECODER("replace")
    characters: list[int] = []
    n_done = n_pending = 0
    for byte in written:
        n_new = len(decoder.decode(bytes([byte])))
        if not n_new:
            n_pending += 1
            continue
        is_begun = bool(decoder.getstate()[0])  # this byte begins the next character
        is_apart = is_begun or n_new > 1
        characters += [n_done] * (n_pending if is_apart else n_pending + 1)
        n_done += n_new
        if is_apart and not is_begun:
            characters.append(n_done - 1)
        n_pending = int(is_begun)
    return characters + [n_done] * n_pending


def _clipped(characters: Sequence[int], first: int, after: int, lead: int, length: int) -> Span:
    """Return the span of some bytes, counted from the beginning of the text and inside it."""
    if first == after:  # a token without bytes stands where the next one begins
        place = characters[first] if first < len(characters) else lead + length
        return Span(*[min(max(place - lead, 0), length)] * 2)
    start, end = characters[first] - lead, characters[after - 1] + 1 - lead
    return Span(min(max(start, 0), length), min(max(end, 0), length))


def _leading_whitespace(text: str) -> int:
    return len(text) - len(text.lstrip())


def _short(text: str, limit: int = 40) -> str:
    return repr(text if len(text) <= limit else f"{text[:limit]}...")
