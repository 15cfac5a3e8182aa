"""One generated answer with its tokens, and which of them count."""

import math
from dataclasses import dataclass
from enum import StrEnum

from overnight.engines.protocol import Completion
from overnight.errors import UndefinedMetricError
from overnight.records import FinishReason
from overnight.uncertainty.spans import Span, token_spans


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerToken:
    """A token of an answer."""

    piece: bytes  # what it adds to the text; it need not be valid UTF-8 alone
    logprob: float | None  # nats, by the model before any sampling setting; None where the engine gave none
    ends: bool = False  # it ends the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedAnswer:
    """One answer: the text that is scored, and all tokens that were generated for it."""

    text: str  # as it is scored: cut at the stop string, usually without the whitespace around it
    tokens: tuple[AnswerToken, ...]
    finish_reason: FinishReason

    @property
    def is_cut(self) -> bool:
        """True where the answer was as long as it may be: its likelihood is that of a beginning."""
        return self.finish_reason is FinishReason.LENGTH


class TokenMask(StrEnum):
    """Which tokens belong to the likelihood of an answer."""

    CONTENT = "content"  # those that wrote at least one character of the scored text
    WITH_END_TOKEN = "with_end_token"  # and the one that ended it  # noqa: S105
    EVERY_TOKEN = "every_token"  # also whitespace and stop strings that were cut off  # noqa: S105


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedToken:
    """A token that belongs to the likelihood."""

    logprob: float | None  # nats
    span: Span  # of the scored text; empty where the token wrote nothing of it


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedAnswer:
    """An answer under a mask: all that a measure sees of it."""

    text: str
    tokens: tuple[CountedToken, ...]
    mask: TokenMask
    undefined_because: str | None = None  # nobody knows which tokens count; there are none here then

    def n_tokens(self) -> int:
        """Return how many tokens count; 0 for an empty answer.

        Raises:
            UndefinedMetricError: nobody knows which ones do.
        """
        if self.undefined_because is not None:
            raise UndefinedMetricError(self.undefined_because)
        return len(self.tokens)

    def nlls(self) -> tuple[float, ...]:
        """Return the negative log-probabilities of the counted tokens in nats, in order; at least one.

        Raises:
            UndefinedMetricError: no token counts, nobody knows which ones do, or one has no log-probability.
        """
        if not self.n_tokens():
            raise UndefinedMetricError(f"the answer is empty: none of its tokens counts ({self.mask})")
        found = [-token.logprob for token in self.tokens if token.logprob is not None]
        if len(found) < len(self.tokens):
            missing = len(self.tokens) - len(found)
            raise UndefinedMetricError(f"{missing} of {len(self.tokens)} tokens have no log-probability")
        return tuple(found)


def count_tokens(answer: GeneratedAnswer, mask: TokenMask = TokenMask.CONTENT) -> CountedAnswer:
    """Return an answer with the tokens that count; without any, and why, where they do not spell the text."""
    try:
        spans = token_spans([token.piece for token in answer.tokens], answer.text)
    except UndefinedMetricError as reason:
        return CountedAnswer(text=answer.text, tokens=(), mask=mask, undefined_because=str(reason))
    return CountedAnswer(
        text=answer.text,
        tokens=tuple(
            CountedToken(logprob=_finite(token.logprob), span=span)
            for token, span in zip(answer.tokens, spans, strict=True)
            if _counts(token, span, mask)
        ),
        mask=mask,
    )


def counted_places(answer: GeneratedAnswer, mask: TokenMask = TokenMask.CONTENT) -> tuple[int, ...]:
    """Return ``[n_counted]``: which of an answer's tokens those of `count_tokens` are, by their place from 0.

    Raises:
        UndefinedMetricError: the tokens do not spell the text, so nobody knows.
    """
    spans = token_spans([token.piece for token in answer.tokens], answer.text)
    return tuple(
        place
        for place, (token, span) in enumerate(zip(answer.tokens, spans, strict=True))
        if _counts(token, span, mask)
    )


def from_completion(completion: Completion, text: str) -> GeneratedAnswer:
    """Return an answer with the tokens of a completion.

    Args:
        completion: with its steps.
        text: as it is scored.

    Raises:
        UndefinedMetricError: the engine gave no steps.
    """
    if completion.steps is None:
        raise UndefinedMetricError("the engine gave no tokens with this answer")
    return GeneratedAnswer(
        text=text,
        tokens=tuple(
            AnswerToken(piece=step.taken.piece, logprob=step.taken.logprob, ends=step.taken.ends)
            for step in completion.steps
        ),
        finish_reason=completion.finish_reason,
    )


def without_span(text: str, span: Span) -> str:
    """Return a text without the characters of a span; nothing else is changed."""
    return text[: span.start] + text[span.end :]


def _counts(token: AnswerToken, span: Span, mask: TokenMask) -> bool:
    if mask is TokenMask.EVERY_TOKEN:
        return True
    if token.ends:
        return mask is TokenMask.WITH_END_TOKEN
    return not span.is_empty


def _finite(logprob: float | None) -> float | None:
    # A NaN would travel through sums and sort anywhere.
    return logprob if logprob is not None and math.isfinite(logprob) else None
