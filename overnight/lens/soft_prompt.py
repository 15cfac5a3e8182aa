"""A decoder that was trained: a vector becomes soft tokens, and the text is what the model says behind them.

Soft prompts are those of Lester et al. (2021), "The Power of Scale for Parameter-Efficient Prompt Tuning",
arXiv:2104.08691, but that these depend on a vector.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Self

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from overnight.lens.protocol import Prefilled

if TYPE_CHECKING:
    from overnight.lens.adapter import Adapter  # imports peft, which takes seconds

_NAMES: Final = ("decoder.weight", "decoder.bias", "decoder.centre", "decoder.spread")


class SoftPrompt(nn.Module):
    """Soft tokens ``W z + c`` of the standardised vector ``z = (x - centre) / spread``, one number at a time.

    Args:
        model: a causal language model of transformers, on its device.
        weight_MED: float32, of M soft tokens, each as wide as the model's embeddings.
        bias_ME: the soft tokens of the vector ``centre``.
        centre_D: mean of the vectors that it was fitted to.
        spread_D: their standard deviations, above 0.
        adapter: changes to the model that are there while it decodes.
    """

    def __init__(
        self,
        model: Any,
        weight_MED: Tensor,  # noqa: N803 - the letters are its axes
        bias_ME: Tensor,  # noqa: N803
        centre_D: Tensor,  # noqa: N803
        spread_D: Tensor,  # noqa: N803
        adapter: "Adapter | None" = None,
    ) -> None:
        super().__init__()
        device = model.device
        self._model = [model]  # in a list, so that its weights are none of this module's
        self.adapter = adapter
        self.weight = nn.Parameter(weight_MED.float().to(device))
        self.bias = nn.Parameter(bias_ME.float().to(device))
        self.register_buffer("centre", centre_D.float().to(device))
        self.register_buffer("spread", spread_D.float().to(device))

    @property
    def width(self) -> int:
        """D, of the vectors."""
        return self.weight.shape[-1]

    def soft_tokens(self, vectors_BD: Tensor) -> Tensor:  # noqa: N803
        """Return ``[B, M, E]``, in the dtype of the model's embeddings."""
        standard = (vectors_BD.float() - self.get_buffer("centre")) / self.get_buffer("spread")
        soft = torch.einsum("bd,med->bme", standard, self.weight) + self.bias
        dtype: torch.dtype = self._model[0].get_input_embeddings().weight.dtype
        return soft.to(dtype)

    def decoding(self) -> AbstractContextManager[None]:
        """Return what is to be entered around `prefill` and all that is drawn after it."""
        return nullcontext() if self.adapter is None else self.adapter.in_place()

    @torch.inference_mode()
    def prefill(self, vectors_BD: Tensor) -> Prefilled:  # noqa: N803
        """Return the state of the decoder that has read each vector."""
        model = self._model[0]
        soft = self.soft_tokens(vectors_BD)
        cache = DynamicCache(config=model.config)
        output = model(inputs_embeds=soft, past_key_values=cache, use_cache=True)
        return Prefilled(output.logits[:, -1], cache, soft.shape[1])

    def tensors(self) -> dict[str, Tensor]:
        """Return what is to be kept, but for the adapter."""
        held = (self.weight, self.bias, self.get_buffer("centre"), self.get_buffer("spread"))
        return {name: each.detach().cpu().contiguous() for name, each in zip(_NAMES, held, strict=True)}

    @classmethod
    def of(cls, model: Any, tensors: Mapping[str, Tensor], adapter: "Adapter | None") -> Self:
        """Return the decoder of what was kept.

        Raises:
            KeyError: a part of it is missing.
        """
        weight, bias, centre, spread = (tensors[name] for name in _NAMES)
        return cls(model, weight, bias, centre, spread, adapter)
