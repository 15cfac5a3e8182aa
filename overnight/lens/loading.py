"""A fitted lens of a folder, on a model that is loaded; and the folder of a lens that was fitted."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import safetensors.torch
import torch
from torch import Tensor

from overnight.activations.architecture import Architecture
from overnight.errors import StoreError, UsageError
from overnight.lens.folder import ADAPTER, WEIGHTS_FILE, LensDescription, read_lens, write_lens
from overnight.lens.patched import Patched
from overnight.lens.protocol import Prefilled
from overnight.lens.reading_out import ReadingOut, TextStates
from overnight.lens.soft_prompt import SoftPrompt
from overnight.spec.lens import PatchedDecoder
from overnight.store.files import atomic_bytes


class Decoder(Protocol):
    """The half of a lens that says vectors in words."""

    @property
    def width(self) -> int:
        """D, of the vectors."""
        ...

    def decoding(self) -> AbstractContextManager[None]:
        """Return what is to be entered around `prefill` and all that is drawn after it."""
        ...

    def prefill(self, vectors_BD: Tensor) -> Prefilled:  # noqa: N803 - the letters are its axes
        """Return the state of the decoder that has read each vector."""
        ...


@dataclass(frozen=True, slots=True)
class FittedLens:
    """A decoder and an encoder of one model."""

    decoder: Decoder
    encoder: ReadingOut

    @property
    def width(self) -> int:
        """D, of the vectors."""
        return self.encoder.width

    def decoding(self) -> AbstractContextManager[None]:
        """Return what is to be entered around `prefill` and all that is drawn after it."""
        return self.decoder.decoding()

    def prefill(self, vectors_BD: Tensor) -> Prefilled:  # noqa: N803 - the letters are its axes
        """Return the state of the decoder that has read each vector; the cache grows by what is drawn."""
        return self.decoder.prefill(vectors_BD)

    def encode(self, token_ids: Sequence[Sequence[int]]) -> Tensor:
        """Return ``[n, D]`` float32, the vector of each text; of an empty one the mean vector."""
        return self.encoder.encode(token_ids)

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids that `encode` is to read of some texts."""
        return self.encoder.tokens(texts)


def load_lens(folder: Path, model: Any, tokenizer: Any, device: torch.device) -> FittedLens:
    """Return the lens of a folder.

    Args:
        folder: of a fitted lens.
        model: a causal language model of transformers, ready for inference; outside `decoding` it stays as it is.
        tokenizer: of the model.
        device: of the model.

    Raises:
        UsageError: the folder holds no lens, or one of another model.
        StoreError: a file of it is damaged.
    """
    described = read_lens(folder)
    path = folder / WEIGHTS_FILE
    try:
        tensors = safetensors.torch.load_file(path, device=str(device))
    except (OSError, safetensors.SafetensorError) as error:
        raise StoreError(
            f"{path}: cannot be read ({' '.join(str(error).split())}); fit the lens again"
        ) from None
    architecture = Architecture(model)
    states = TextStates(model, architecture, tokenizer, described.layer)
    if states.width != described.width:
        raise UsageError(
            f"{folder}: a lens for vectors of {described.width} numbers; {architecture.name} has {states.width} in "
            f"layer {described.layer}; it was fitted to {described.model!r}"
        )
    wanted = described.lens.decoder
    decoder: Decoder
    try:
        if isinstance(wanted, PatchedDecoder):
            decoder = Patched(model, architecture, tokenizer, wanted)
        else:
            adapter = None
            if wanted.lora_rank:
                from overnight.lens.adapter import Adapter  # noqa: PLC0415 - peft takes seconds

                adapter = Adapter.read(model, folder / ADAPTER)
            decoder = SoftPrompt.of(model, tensors, adapter)
        return FittedLens(decoder, ReadingOut.of(states, tensors))
    except KeyError as error:
        raise StoreError(f"{path}: {error} is missing in it; fit the lens again") from None


def save_lens(folder: Path, lens: FittedLens, description: LensDescription) -> None:
    """Write the folder of a lens; its description last."""
    tensors = lens.encoder.tensors()
    if isinstance(lens.decoder, SoftPrompt):
        tensors |= lens.decoder.tensors()
        if lens.decoder.adapter is not None:
            lens.decoder.adapter.write(folder / ADAPTER)
    with atomic_bytes(folder / WEIGHTS_FILE) as file:
        file.write(safetensors.torch.save(tensors, metadata={"layer": str(description.layer)}))
    write_lens(folder, description)
