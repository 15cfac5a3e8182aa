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
    """Return steps as ``logprobs.content`` of the OpenAI API has them, with ids, and whether a token ends the answer.

    A token's text is what it adds to the answer; of a character that takes several tokens, the last one adds it.

    Args:
        ids: of the answer.
        logprobs: of the ids.
        ranked: of each step; empty where nobody asked for the likeliest.
        decode: ids to text.
        eos_ids: tokens that end an answer.
    """
    steps = []
    written = ""
    every = ranked or [Ranked((), ())] * len(ids)
    for place, (token, logprob, found) in enumerate(zip(ids, logprobs, every, strict=True)):
        before = list(ids[:place])
        text = decode(before)
        written = text if _is_whole(text) else written

        def shown(token: int, logprob: float, before: list[int] = before, written: str = written) -> Any:
            ends = token in eos_ids
            text = decode([*before, token])
            adds = "" if ends or not _is_whole(text) else text.removeprefix(written)
            return {"token": adds, "logprob": logprob, "ends": ends, "id": token}

        others = [shown(*each) for each in zip(found.ids, found.logprobs, strict=True)]
        steps.append({**shown(token, logprob), "top_logprobs": others})
    return steps


def _is_whole(text: str) -> bool:
    """Return False where a text ends with the beginning of a character."""
    return not text.endswith("\ufffd")
