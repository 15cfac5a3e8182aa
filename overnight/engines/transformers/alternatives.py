"""The likeliest tokens of each step of an answer, where somebody looks into it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Ranked:
    """The likeliest tokens of one step."""

    ids: tuple[int, ...]  # the likeliest first
    logprobs: tuple[float, ...]  # nats, before any sampling setting


def likeliest(logits: Tensor, n: int) -> Ranked:
    """Return the ``n`` likeliest tokens by the logits ``[vocabulary]`` of a step."""
    logprobs = logits.float().log_softmax(dim=-1)
    found = logprobs.topk(min(n, logprobs.shape[-1]))
    return Ranked(tuple(found.indices.tolist()), tuple(found.values.tolist()))


def shown_steps(
    ids: Sequence[int],
    logprobs: Sequence[float],
    ranked: Sequence[Ranked],
    decode: Callable[[Sequence[int]], str],
    eos_ids: frozenset[int],
) -> list[dict[str, Any]]:
    """Return steps as ``logprobs.content`` of the OpenAI API has them: a token's text is what it adds to the answer.

    Args:
        ids: of the answer.
        logprobs: of the ids.
        ranked: of each step.
        decode: ids to text.
        eos_ids: tokens that end an answer.
    """
    steps = []
    for place, (token, logprob, found) in enumerate(zip(ids, logprobs, ranked, strict=True)):
        before = list(ids[:place])
        written = _whole(decode(before))

        def shown(token: int, logprob: float, before: list[int] = before, written: str = written) -> Any:
            text = "" if token in eos_ids else _whole(decode([*before, token])).removeprefix(written)
            return {"token": text, "logprob": logprob}

        others = [shown(*each) for each in zip(found.ids, found.logprobs, strict=True)]
        steps.append({**shown(token, logprob), "top_logprobs": others})
    return steps


def _whole(text: str) -> str:
    """Return a text without the beginning of a character that is not complete yet."""
    return text.rstrip("\ufffd")
