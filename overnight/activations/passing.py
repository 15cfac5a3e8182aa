"""A pass of some sequences through a decoder, as far as it is wanted."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from overnight.errors import UsageError


class _Ended(Exception):
    """The last block that is wanted has computed."""


@contextmanager
def ended_after(module: nn.Module) -> Iterator[None]:
    """End the pass inside this block as soon as a module has computed: nothing behind it is."""

    def end(*_: Any) -> None:
        raise _Ended

    hook = module.register_forward_hook(end)
    try:
        yield
    except _Ended:
        pass
    finally:
        hook.remove()


@contextmanager
def attention_by(model: Any, implementation: str) -> Iterator[None]:
    """Have attention computed in another way inside this block.

    Raises:
        UsageError: the model knows one way only.
    """
    before = model.config._attn_implementation  # noqa: SLF001 - where transformers keeps it, with no other name
    if before == implementation:
        yield
        return
    model.set_attn_implementation(implementation)
    try:
        if model.config._attn_implementation != implementation:  # noqa: SLF001 - the same
            raise UsageError(
                f"{type(model).__name__} computes attention as {before!r} and in no other way; weights of attention "
                f"need {implementation!r}"
            )
        yield
    finally:
        model.set_attn_implementation(before)


class Pass:
    """Passes sequences through one model, without keys and values that are kept and without logits.

    Args:
        model: a causal language model of transformers, on its device, ready for inference.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._takes_positions = "position_ids" in inspect.signature(model.forward).parameters

    @torch.inference_mode()
    def __call__(self, sequences: Sequence[Sequence[int]], until: nn.Module) -> None:
        """Compute as far as a module, with whatever hooks there are.

        Sequences are padded on the right, so that each token has the position that it has alone and attends to no
        padding, which comes after it; the mask hides it besides.

        Args:
            sequences: token ids; none of them is empty.
            until: nothing is computed once it has.
        """
        longest = max(map(len, sequences))
        device = self._model.device
        ids = torch.tensor([[*each, *[0] * (longest - len(each))] for each in sequences], device=device)
        lengths = torch.tensor([[len(each)] for each in sequences], device=device)
        places = torch.arange(longest, device=device).expand(len(sequences), -1)
        more = {"position_ids": places} if self._takes_positions else {}
        with ended_after(until):
            self._model(input_ids=ids, attention_mask=(places < lengths).long(), use_cache=False, **more)
