"""Drawing the next token of each row from its own distribution, with its own random numbers.

The order of the samplers is that of the llama.cpp engine, so that one trial asks the same of both: top-k, then top-p,
then the temperature. (transformers' own ``generate`` divides by the temperature first, and cuts another set.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a row's tokens are drawn."""

    temperature: float  # 0: the likeliest token
    top_p: float
    top_k: int  # 0: no limit


class Uniforms(Protocol):
    """Random numbers in [0, 1) of one row, one a token."""

    def next(self) -> float:
        """Return the next one."""
        ...


class UniformStream:
    """A row's own random numbers in [0, 1), one a token: they depend on its seed, and on no batch or device."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator("cpu").manual_seed(seed)

    def next(self) -> float:
        """Return the next one."""
        return float(torch.rand((), generator=self._generator, dtype=torch.float64))


def next_tokens(
    logits_BV: Tensor,  # noqa: N803 - the letters are its axes: rows, vocabulary
    samplings: Sequence[Sampling],
    streams: Sequence[Uniforms],
) -> tuple[list[int], list[float]]:
    """Return the next token of each row and its log-probability.

    The log-probability, in nats, is that of the model before any sampling setting: the log-softmax of the raw logits
    in float32.

    Args:
        logits_BV: of the last position of each row.
        samplings: of each row.
        streams: of each row; greedy rows take nothing from theirs.
    """
    logits = logits_BV.float()
    tokens = torch.empty(len(samplings), dtype=torch.long, device=logits.device)
    groups: dict[Sampling, list[int]] = {}
    for row, sampling in enumerate(samplings):
        groups.setdefault(sampling, []).append(row)
    for sampling, rows in groups.items():
        chosen = logits if len(rows) == len(samplings) else logits[rows]
        if sampling.temperature == 0:
            tokens[rows] = chosen.argmax(dim=-1)
        else:
            draws = torch.tensor([streams[row].next() for row in rows], dtype=torch.float64)
            tokens[rows] = _drawn(chosen, sampling, draws).to(tokens.device)
    logprobs = logits.gather(-1, tokens[:, None])[:, 0] - logits.logsumexp(dim=-1)
    return tokens.tolist(), logprobs.tolist()


def _drawn(logits: Tensor, sampling: Sampling, draws: Tensor) -> Tensor:
    """Return a token of each row by the inverse of its cumulative distribution, in the order of the ids.

    In the order of the ids, and not of the probabilities: two tokens that are nearly as likely may change places in
    another batch, and would take their whole intervals with them.
    """
    n_vocabulary = logits.shape[-1]
    k = min(sampling.top_k or n_vocabulary, n_vocabulary)
    if k == n_vocabulary and sampling.top_p >= 1:
        ids, kept = None, logits
    else:
        kept, ids = logits.topk(k, dim=-1) if k < n_vocabulary else logits.sort(dim=-1, descending=True)
        if sampling.top_p < 1:
            probabilities = kept.softmax(dim=-1)
            # A token stays while those before it do not have the mass yet: the likeliest one always does.
            before = probabilities.cumsum(dim=-1) - probabilities
            kept = kept.masked_fill(before >= sampling.top_p, -torch.inf)
        ids, order = ids.sort(dim=-1)
        kept = kept.gather(-1, order)
    weights = (kept / sampling.temperature).softmax(dim=-1).cpu().double()
    cumulative = weights.cumsum(dim=-1)
    aims = draws[:, None] * cumulative[:, -1:]
    # The first token whose cumulative weight is above the aim: a token of weight 0 is never it.
    places = torch.searchsorted(cumulative, aims, right=True).clamp(max=cumulative.shape[-1] - 1)
    if ids is None:
        return places[:, 0]
    return ids.cpu().gather(-1, places)[:, 0]
