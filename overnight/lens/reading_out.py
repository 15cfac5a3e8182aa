"""The encoder: an affine map of what the model itself makes of a text, at the text's last token."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import torch
from torch import Tensor

from overnight.activations.architecture import Architecture
from overnight.activations.passing import Pass
from overnight.activations.points import Component, Point
from overnight.activations.recording import recording

_NAMES: Final = ("encoder.weight", "encoder.bias", "encoder.mean")


class TextStates:
    """The states of some texts in one layer of a model.

    Args:
        model: a causal language model of transformers, on its device, ready for inference.
        architecture: of the model.
        tokenizer: of the model.
        layer: whose ``residual_out`` is read; nothing behind it is computed.

    Raises:
        UsageError: the model has no such layer.
    """

    def __init__(self, model: Any, architecture: Architecture, tokenizer: Any, layer: int) -> None:
        self._point = Point(layer, Component.RESIDUAL_OUT)
        self.width = architecture.width(self._point)
        self.device: torch.device = model.device
        self._architecture = architecture
        self._pass = Pass(model)
        self._until = architecture.blocks[layer].module
        self._tokenizer = tokenizer
        self._beginning = _beginning(tokenizer)

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of some texts, without special tokens."""
        return [list(self._tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]

    def last(self, token_ids: Sequence[Sequence[int]]) -> Tensor:
        """Return ``[n, D]`` float32: the state of the last token of each text.

        Args:
            token_ids: of each text, at least one, without special tokens; the one that the tokenizer begins a text
                with, where it has one, is put in front. One batch: texts do not depend on each other.
        """
        with torch.inference_mode():
            found = torch.empty((len(token_ids), self.width), device=self.device)
            ends = torch.tensor(
                [len(self._beginning) + len(ids) - 1 for ids in token_ids], device=self.device
            )
            rows = torch.arange(len(token_ids), device=self.device)

            def take(_: Point, states: Tensor) -> None:
                found.copy_(states[rows, ends])

            with recording(self._architecture, [self._point], take):
                self._pass([[*self._beginning, *ids] for ids in token_ids], until=self._until)
        return found


class ReadingOut:
    """An affine map ``W h + b`` of the state ``h`` of a text's last token.

    Args:
        states: what is mapped.
        weight_DD: float32.
        bias_D: float32.
        mean_D: the vector of no text at all: the mean of those that the map was fitted to.
    """

    def __init__(
        self,
        states: TextStates,
        weight_DD: Tensor,  # noqa: N803 - the letters are its axes
        bias_D: Tensor,  # noqa: N803
        mean_D: Tensor,  # noqa: N803
    ) -> None:
        self._states = states
        self._weight, self._bias, self._mean = (
            each.float().to(states.device) for each in (weight_DD, bias_D, mean_D)
        )

    @property
    def width(self) -> int:
        """D, of the vectors."""
        return self._states.width

    @torch.inference_mode()
    def encode(self, token_ids: Sequence[Sequence[int]]) -> Tensor:
        """Return ``[n, D]`` float32, the vector of each text; of an empty one the mean vector.

        Args:
            token_ids: of each text, without special tokens; one batch.
        """
        vectors = self._mean.repeat(len(token_ids), 1)
        said = [place for place, ids in enumerate(token_ids) if ids]
        if said:
            states = self._states.last([token_ids[place] for place in said])
            vectors[torch.tensor(said, device=vectors.device)] = states @ self._weight.T + self._bias
        return vectors

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids that `encode` is to read of some texts."""
        return self._states.tokens(texts)

    def tensors(self) -> dict[str, Tensor]:
        """Return what is to be kept."""
        held = (self._weight, self._bias, self._mean)
        return {name: each.cpu().contiguous() for name, each in zip(_NAMES, held, strict=True)}

    @classmethod
    def of(cls, states: TextStates, tensors: Mapping[str, Tensor]) -> Self:
        """Return the encoder of what was kept.

        Raises:
            KeyError: a part of it is missing.
        """
        return cls(states, *(tensors[name] for name in _NAMES))


def _beginning(tokenizer: Any) -> list[int]:
    """Return the special tokens that a tokenizer puts in front of a text."""
    whole = list(tokenizer("a")["input_ids"])
    own = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    starts = [place for place in range(len(whole)) if whole[place : place + len(own)] == own]
    return whole[: starts[0]] if starts else []
