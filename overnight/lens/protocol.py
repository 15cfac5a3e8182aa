"""What a fitted lens does on a loaded model."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Prefilled:
    """Vectors that wait for the first token of their texts; a row a vector, none padded."""

    logits: Tensor  # [B, vocabulary]
    cache: Any  # of keys and values, of transformers
    n_tokens: int  # that each row has by now; the next one's position


class Lens(Protocol):
    """A decoder and an encoder around one causal language model of transformers."""

    @property
    def width(self) -> int:
        """D, of the vectors."""
        ...

    def decoding(self) -> AbstractContextManager[None]:
        """Return what is to be entered around `prefill` and all that is drawn after it."""
        ...

    def prefill(self, vectors_BD: Tensor) -> Prefilled:  # noqa: N803 - the letters are its axes
        """Return the state of the decoder that has read each vector; the cache grows by what is drawn.

        Args:
            vectors_BD: float32, on the device of the model.
        """
        ...

    def encode(self, token_ids: Sequence[Sequence[int]]) -> Tensor:
        """Return ``[n, D]`` float32, the vector of each text; of an empty one the vector of no text at all.

        Args:
            token_ids: of each text, without special tokens; one batch.
        """
        ...

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids that `encode` is to read of some texts."""
        ...
