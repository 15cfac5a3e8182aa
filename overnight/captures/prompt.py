"""A prompt with its reply and what was captured of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overnight.captures.tensor_file import TensorFile

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CapturedPrompt:
    """One sequence: T tokens of prompt and reply, projected at P points onto V traits.

    Entry t of every tensor is the state after reading token t. NaN stands where a value is undefined.
    """

    prompt_id: str
    group: str
    prompt: str
    reply: str
    finish_reason: str | None
    n_prompt: int  # tokens before the reply
    token_ids: NDArray[np.int64]  # [T]
    tokens: tuple[str, ...]  # [T]
    points: tuple[str, ...]  # [P] labels such as "12.residual_out"
    traits: tuple[str, ...]  # [V]
    projections: Floats  # [T, P, V]
    z: Floats | None  # [T, P, V]; None: the directions have no null ones
    norms: Floats  # [T, P]
    pooled_points: tuple[str, ...]  # [Q]
    pooled: Floats | None  # [Q, d]
    attention_summary: (
        Floats | None
    )  # [L, T, 4]: entropy in nats, shares of first token, prompt, previous token
    file: TensorFile  # holds what is large

    @property
    def n_tokens(self) -> int:
        """Tokens of prompt and reply."""
        return len(self.tokens)

    @property
    def raw_points(self) -> tuple[str, ...]:
        """The points whose states are stored."""
        return tuple(name.removeprefix("raw.") for name in self.file.tensors if name.startswith("raw."))

    def raw(self, point: str) -> Floats:
        """Return the states at a point, ``[T, d]``, read from the file now.

        Raises:
            KeyError: no states are stored there.
        """
        return self.file.read(f"raw.{point}").astype(np.float32, copy=False)

    def internals(self, point: str) -> NDArray[Any]:
        """Return what is stored of a component of the tier-3 layer, ``[T, w]``, read from the file now.

        Raises:
            KeyError: it is not stored.
        """
        return self.file.read(f"internals.{point}")


def layer_and_sublayer(point: str) -> tuple[int, str]:
    """Return the two parts of a point's label: 12 and "residual_out" of "12.residual_out"."""
    layer, _, sublayer = point.partition(".")
    return int(layer), sublayer
