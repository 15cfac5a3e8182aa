"""Answers for tests, written as their tokens."""

from collections.abc import Sequence

from overnight.records import FinishReason
from overnight.uncertainty.answer import AnswerToken, GeneratedAnswer, TokenMask, count_tokens
from overnight.uncertainty.clusters import ClusterIds
from overnight.uncertainty.evidence import Evidence, Sampled


def generated(
    pieces: Sequence[str | bytes],
    logprobs: Sequence[float | None] | None = None,
    *,
    text: str | None = None,
    end: float | None = None,
) -> GeneratedAnswer:
    """Return an answer with these tokens and, where ``end`` is given, an end token of that log-probability."""
    written = [piece.encode() if isinstance(piece, str) else piece for piece in pieces]
    tokens = [
        AnswerToken(piece=piece, logprob=logprob)
        for piece, logprob in zip(written, logprobs or [-1.0] * len(written), strict=True)
    ]
    if end is not None:
        tokens.append(AnswerToken(piece=b"", logprob=end, ends=True))
    whole = b"".join(written).decode("utf-8", "replace").strip()
    return GeneratedAnswer(
        text=whole if text is None else text,
        tokens=tuple(tokens),
        finish_reason=FinishReason.STOP if end is not None else FinishReason.LENGTH,
    )


def evidence(logprobs: Sequence[float | None], *, key: str = "d|1", **more) -> Evidence:
    """Return an item whose greedy answer has one word a token."""
    answer = generated([f" w{place}" for place in range(len(logprobs))], logprobs)
    return Evidence(item_key=key, greedy=count_tokens(answer), **more)


def sampled(samples: Sequence[Sequence[float]], clusters: ClusterIds | None = None, **more) -> Evidence:
    """Return an item with these log-probabilities of its sampled answers."""
    answers = tuple(count_tokens(generated([" x"] * len(logs), logs), TokenMask.CONTENT) for logs in samples)
    return evidence([-1.0], sampled=Sampled(answers=answers), clusters=clusters, **more)
