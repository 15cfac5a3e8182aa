"""The tokens of a sequence, and what each of them writes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from overnight.engines.kept_tokens import token_row, with_parts_of_characters
from overnight.engines.protocol import Token

_BROKEN = "\ufffd"  # at the end: the beginning of a character


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSequence:
    """A sequence as a model reads it."""

    id: str
    ids: tuple[int, ...]
    n_prompt: int  # of these, before the reply
    places: tuple[int, ...] = ()  # of the tokens whose states are wanted as they are


def written_pieces(ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> tuple[dict[str, str], ...]:
    """Return what each token adds to the text, as a row of a journal holds it: ``text``, or ``hex``.

    A token is decoded behind those since the last one that ended with a whole character, and they behind one more: many
    tokenizers write a word's space only where something stands before it.

    Args:
        ids: of the tokens.
        decode: ids to text, special tokens included.
    """
    tokens: list[Token] = []
    start = whole = 0  # where decoding begins, and behind which token the text was whole
    for place in range(len(ids)):
        before, after = decode(ids[start:whole]), decode(ids[start : place + 1])
        piece = ""
        if not after.endswith(_BROKEN) and len(after) > len(before):
            piece = after[len(before) :]
            start, whole = whole, place + 1
        tokens.append(Token(piece=piece.encode("utf-8", "replace"), logprob=0.0))
    rows = [token_row(token.piece, None, ends=False) for token in with_parts_of_characters(tokens)]
    return tuple({kind: row[kind] for kind in ("text", "hex") if kind in row} for row in rows)
