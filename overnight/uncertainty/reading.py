"""From a row of a journal to the answer that is measured, and the tokens that such a row holds."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from overnight.engines.kept_tokens import token_row
from overnight.engines.protocol import Token
from overnight.errors import StoreError, UndefinedMetricError
from overnight.records import FinishReason
from overnight.store.journal import Row, is_done
from overnight.uncertainty.answer import AnswerToken, GeneratedAnswer


def read_answer(row: Row, stop: Sequence[str]) -> GeneratedAnswer:
    """Return the answer of one draw.

    Args:
        row: of ``generations.jsonl``, with its ``tokens``.
        stop: where answers end. An engine that was told so has ended there already; one that was not has gone on, and
            what it went on with is no part of the answer.

    Raises:
        UndefinedMetricError: there is no answer, or it came without its tokens; the message says why.
        StoreError: the row is not what a journal holds.
    """
    if not is_done(row):
        error = row.get("error") or {}
        raise UndefinedMetricError(f"the request failed: {error.get('message', 'nobody said why')}")
    where = f"generations.jsonl: {row.get('custom_id')}"
    reply, tokens = row.get("text"), row.get("tokens")
    if not isinstance(reply, str):
        raise StoreError(f"{where}: text: found {_shown(reply)}, wanted a text; restore the file")
    if tokens is None:
        raise UndefinedMetricError("the engine gave no tokens with this answer")
    n_generated = row.get("completion_tokens")
    if isinstance(n_generated, int) and n_generated > len(tokens) and not reply.isascii():
        # llama.cpp shows the last token alone of a character that takes several.
        raise UndefinedMetricError(
            f"the engine showed {len(tokens)} of {n_generated} tokens, and others may be inside a character"
        )
    try:
        finish_reason = FinishReason(str(row.get("finish_reason")))
    except ValueError:
        raise StoreError(
            f"{where}: finish_reason: found {_shown(row.get('finish_reason'))}, wanted stop or length; restore the file"
        ) from None
    text, is_ended = _before_stop(reply, stop)
    return GeneratedAnswer(
        text=text.strip(),
        tokens=tokens_from_json(tokens, where),
        # What ends at a stop string is whole, however the reply that it is taken from ended.
        finish_reason=FinishReason.STOP if is_ended else finish_reason,
    )


def scored_text(reply: str, stop: Sequence[str]) -> str:
    """Return what of a reply is scored: up to the first stop string, without the whitespace around it."""
    return _before_stop(reply, stop)[0].strip()


def tokens_to_json(tokens: Iterable[Token | AnswerToken]) -> list[dict[str, Any]]:
    """Return tokens as a row of a journal holds them; see `token_row`."""
    return [token_row(token.piece, token.logprob, ends=token.ends) for token in tokens]


def tokens_from_json(value: Any, where: str = "tokens") -> tuple[AnswerToken, ...]:
    """Return the tokens of a row.

    Args:
        value: as `tokens_to_json` made it.
        where: stands before the message of an error.

    Raises:
        StoreError: it is something else.
    """
    if not isinstance(value, list):
        raise StoreError(f"{where}: tokens: found {_shown(value)}, wanted a list; restore the file")
    return tuple(_from_json(token, f"{where}: tokens[{place}]") for place, token in enumerate(value))


def _from_json(value: Any, where: str) -> AnswerToken:
    if not isinstance(value, dict):
        raise StoreError(f"{where}: found {_shown(value)}, wanted an object; restore the file")
    logprob = value.get("logprob")
    if logprob is not None and (not isinstance(logprob, int | float) or isinstance(logprob, bool)):
        raise StoreError(
            f"{where}: logprob: found {_shown(logprob)}, wanted a number or null; restore the file"
        )
    return AnswerToken(
        piece=_piece(value, where),
        # Python reads the NaN that other writers leave in JSON.
        logprob=None if logprob is None or not math.isfinite(logprob) else float(logprob),
        ends=value.get("ends") is True,
    )


def _piece(value: dict[str, Any], where: str) -> bytes:
    text, written = value.get("text"), value.get("hex")
    try:
        if isinstance(text, str) and written is None:
            return text.encode("utf-8")
        if isinstance(written, str) and text is None:
            return bytes.fromhex(written)
    except ValueError:
        pass  # a lone surrogate, or no hex digits
    raise StoreError(f"{where}: found {_shown(value)}, wanted its text or its bytes in hex; restore the file")


def _before_stop(reply: str, stop: Sequence[str]) -> tuple[str, bool]:
    places = [place for text in stop if text and (place := reply.find(text)) >= 0]
    return (reply[: min(places)], True) if places else (reply, False)


def _shown(value: Any, limit: int = 60) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= limit else f"{text[:limit]}..."
