"""The tokens of an answer as a journal row keeps them."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from overnight.engines.protocol import Completion, Token


def kept_tokens(completion: Completion) -> list[dict[str, Any]] | None:
    """Return the tokens of an answer, for a JSON line; None where the engine did not show them."""
    if completion.steps is None:
        return None
    tokens = with_parts_of_characters([step.taken for step in completion.steps])
    return [token_row(token.piece, token.logprob, ends=token.ends, token_id=token.id) for token in tokens]


def with_parts_of_characters(tokens: Sequence[Token]) -> list[Token]:
    """Return tokens of which each has a part of the character that it helped to write.

    Engines give a character that takes several tokens to the last of them, and nothing to those before, which would
    then seem to have written nothing. Each of these gets one byte: how many it had is not known, and it is the same
    character whatever they were.
    """
    found: list[Token] = []
    silent: list[Token] = []
    for token in tokens:
        if not token.piece and not token.ends:
            silent.append(token)
            continue
        n_silent = len(silent)
        if silent and len(token.piece[:1].decode("utf-8", "ignore")) == 0 and len(token.piece) > n_silent:
            silent = [
                replace(each, piece=token.piece[place : place + 1]) for place, each in enumerate(silent)
            ]
            token = replace(token, piece=token.piece[n_silent:])  # noqa: PLW2901
        found += [*silent, token]
        silent = []
    return found + silent


def token_row(
    piece: bytes, logprob: float | None, *, ends: bool, token_id: int | None = None
) -> dict[str, Any]:
    """Return a token as a row of a journal holds it.

    Its piece is ``text``, or ``hex`` where its bytes are not UTF-8 alone: one emoji may be several tokens. A
    log-probability that is not finite is null, with the reason beside it. Its ``id`` is there where it is known.
    """
    row: dict[str, Any]
    try:
        row = {"text": piece.decode()}
    except UnicodeDecodeError:
        row = {"hex": piece.hex()}
    if logprob is None:
        row |= {"logprob": None, "undefined_because": "the engine gave none"}
    elif not math.isfinite(logprob):
        row |= {"logprob": None, "undefined_because": f"the engine gave {logprob}"}
    else:
        row |= {"logprob": logprob}
    return row | ({"ends": True} if ends else {}) | ({} if token_id is None else {"id": token_id})
