"""The loop that writes token after token for all rows of a batch; a row that has ended leaves it."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from overnight.engines.transformers.keys_values import keep_rows
from overnight.engines.transformers.prefilling import Evaluated, Forward
from overnight.engines.transformers.sampling import Sampling, Uniforms, next_tokens


class _Row(Protocol):
    """What is written."""

    @property
    def sampling(self) -> Sampling:
        """How its tokens are drawn."""
        ...

    @property
    def stream(self) -> Uniforms:
        """Its random numbers."""
        ...


AnyRow = TypeVar("AnyRow", bound=_Row)


def write_rows(
    forward: Forward,
    evaluated: Evaluated,
    rows: Sequence[AnyRow],
    take: Callable[[AnyRow, int, float, Tensor], bool],
) -> None:
    """Write until no row goes on; nothing is computed for a row that has ended.

    Args:
        forward: a pass through the model.
        evaluated: prompts of the rows, in their order; its cache grows, and loses rows.
        rows: what is written.
        take: gives a row its next token, the token's log-probability in nats before any sampling setting, and the
            logits ``[vocabulary]`` that it was drawn by; returns whether the row goes on.
    """
    left = list(rows)
    logits, cache = evaluated.logits, evaluated.cache
    mask, positions = evaluated.mask, evaluated.positions
    while True:
        tokens, logprobs = next_tokens(logits, [row.sampling for row in left], [row.stream for row in left])
        kept = [
            index
            for index, row in enumerate(left)
            if take(row, tokens[index], logprobs[index], logits[index])
        ]
        if not kept:
            return
        if len(kept) < len(left):
            keep_rows(cache, kept, logits.device)
            left = [left[index] for index in kept]
            mask, positions = mask[kept], positions[kept]
            tokens = [tokens[index] for index in kept]
        positions = positions + 1
        mask = torch.cat([mask, mask.new_ones((len(left), 1))], dim=-1)
        logits = forward(torch.tensor(tokens, device=logits.device)[:, None], mask, positions, cache)
