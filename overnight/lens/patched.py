"""A decoder without training: the vector replaces the state of a placeholder in a prompt that asks what it means.

The patching of Chen et al. (2024), "SelfIE", arXiv:2403.10949, and Ghandeharioun et al. (2024), "Patchscopes",
arXiv:2401.06102: the state that leaves a layer at the placeholder's last token is the vector, and the text is what the
model says behind the prompt.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from overnight.activations.architecture import Architecture
from overnight.activations.points import Component, Point
from overnight.errors import UsageError
from overnight.lens.protocol import Prefilled
from overnight.spec.lens import PatchedDecoder


class Patched:
    """A prompt with a vector in it.

    Args:
        model: a causal language model of transformers, on its device, ready for inference.
        architecture: of the model.
        tokenizer: of the model.
        decoder: the prompt, its placeholder and where the vector is put in.

    Raises:
        UsageError: the model has no such layer, or the placeholder is not made of tokens of its own.
    """

    def __init__(
        self, model: Any, architecture: Architecture, tokenizer: Any, decoder: PatchedDecoder
    ) -> None:
        self._model = model
        self._width = architecture.width(Point(decoder.layer, Component.RESIDUAL_OUT))
        self._block = architecture.blocks[decoder.layer].module
        self._ids, self._place = _prompt(tokenizer, decoder)

    @property
    def width(self) -> int:
        """D, of the vectors."""
        return self._width

    def decoding(self) -> AbstractContextManager[None]:
        """Return what is to be entered around `prefill` and all that is drawn after it: nothing changes."""
        return nullcontext()

    @torch.inference_mode()
    def prefill(self, vectors_BD: Tensor) -> Prefilled:  # noqa: N803 - the letters are its axes
        """Return the state of the decoder that has read each vector in its prompt."""
        cache = DynamicCache(config=self._model.config)
        device = self._model.device
        if self._place:  # what stands before the placeholder is the same for all: it is read once
            before = torch.tensor([self._ids[: self._place]], device=device)
            self._model(input_ids=before, past_key_values=cache, use_cache=True)
            cache.batch_repeat_interleave(len(vectors_BD))
        ids = torch.tensor(self._ids[self._place :], device=device).expand(len(vectors_BD), -1)

        def put(_: nn.Module, __: Any, output: Any) -> Any:
            states = output[0] if isinstance(output, tuple) else output
            states = states.clone()
            states[:, 0] = vectors_BD.to(states.dtype)
            return (states, *output[1:]) if isinstance(output, tuple) else states

        hook = self._block.register_forward_hook(put)
        try:
            output = self._model(input_ids=ids, past_key_values=cache, use_cache=True)
        finally:
            hook.remove()
        return Prefilled(output.logits[:, -1], cache, len(self._ids))


def _prompt(tokenizer: Any, decoder: PatchedDecoder) -> tuple[list[int], int]:
    """Return the tokens of the prompt, and the place of the last one that writes the placeholder.

    Of several placeholders it is the last.
    """
    end = decoder.prompt.rindex(decoder.placeholder) + len(decoder.placeholder)
    if not tokenizer.is_fast:
        raise UsageError(
            f"{type(tokenizer).__name__}: does not say which token writes what; a patched lens needs a tokenizer that "
            "does (a tokenizer.json beside the weights)"
        )
    found = tokenizer(decoder.prompt, return_offsets_mapping=True)
    for place, (first, last) in enumerate(found["offset_mapping"]):
        if first < end <= last:
            return list(found["input_ids"]), place
    raise UsageError(f"prompt: none of its tokens writes the end of {decoder.placeholder!r}")
