"""A lens with random weights around a small decoder, as simple as one can be."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from transformers import DynamicCache

from overnight.lens.protocol import Prefilled

SOFT_TOKENS = 3


class PlainLens:
    """Soft tokens are the vector times a matrix; a text's vector is the sum of its tokens' embeddings and places."""

    def __init__(self, model) -> None:
        self.model = model
        self.width = model.config.hidden_size
        self.projection = torch.randn(
            (self.width, SOFT_TOKENS * self.width), generator=torch.Generator().manual_seed(3)
        )
        self.read: list[int] = []  # texts of each batch

    def decoding(self) -> AbstractContextManager[None]:
        return nullcontext()

    def soft_tokens(self, vectors: Tensor) -> Tensor:
        return (vectors @ self.projection).view(len(vectors), SOFT_TOKENS, self.width) * 0.3

    def prefill(self, vectors_BD: Tensor) -> Prefilled:  # noqa: N803
        output = self.model(
            inputs_embeds=self.soft_tokens(vectors_BD),
            past_key_values=DynamicCache(config=self.model.config),
            use_cache=True,
        )
        return Prefilled(output.logits[:, -1], output.past_key_values, SOFT_TOKENS)

    def encode(self, token_ids: Sequence[Sequence[int]]) -> Tensor:
        self.read.append(len(token_ids))
        embed = self.model.get_input_embeddings()
        return torch.stack(
            [
                sum(
                    (embed.weight[token] * (place + 1) for place, token in enumerate(ids)),
                    torch.zeros(self.width),
                )
                for ids in token_ids
            ]
        )

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        return [[int(word) for word in text.split()] for text in texts]


def written(ids: Sequence[int]) -> str:
    """Return some ids as a text."""
    return " ".join(map(str, ids))
