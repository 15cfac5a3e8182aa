"""The likeliest tokens of each step, in the shape of the OpenAI API, which most servers share."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from overnight.engines.answer_values import logprob
from overnight.engines.protocol import Step, Token

# As tokenizers write what ends a turn; some servers write nothing.
END_TOKEN = re.compile(r"</s>|<eos>|<end_of_turn>|<\|[^|]+\|>|<\uff5c[^\uff5c]+\uff5c>")
# What audits ask for: as much as every server gives (Fireworks: up to 5).
ALTERNATIVES = 5


def read_steps(tokens: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Return the steps of an answer from its ``logprobs.content``.

    Raises:
        KeyError, TypeError, ValueError: it has another shape.
    """
    return tuple(_step(token, is_last=number == len(tokens)) for number, token in enumerate(tokens, start=1))


def _step(token: Mapping[str, Any], *, is_last: bool) -> Step:
    taken, likeliest = _token(token), [_token(each) for each in token.get("top_logprobs") or ()]
    # llama.cpp shows the tokens of one character as one, and its last token's alternatives without the first bytes.
    own = next((each.piece for each in likeliest if each.logprob == taken.logprob), taken.piece)
    lead = taken.piece.removesuffix(own) if own and taken.piece.endswith(own) else b""
    return Step(
        taken=taken if is_last else Token(piece=_piece(token), logprob=taken.logprob),
        likeliest=tuple(
            Token(piece=b"" if each.ends else lead + each.piece, logprob=each.logprob, ends=each.ends)
            for each in likeliest
        ),
    )


def _token(value: Mapping[str, Any]) -> Token:
    piece = _piece(value)
    ends = bool(value.get("ends", not piece or END_TOKEN.fullmatch(str(value["token"]))))
    return Token(piece=b"" if ends else piece, logprob=logprob(value["logprob"]), ends=ends)


def _piece(value: Mapping[str, Any]) -> bytes:
    """Return a token's bytes; where there are none, those of its text, which lacks parts of characters."""
    found = value.get("bytes")
    return str(value["token"]).encode("utf-8", "surrogatepass") if found is None else bytes(found)
