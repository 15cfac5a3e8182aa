"""Low-rank changes to a model's attention, which are in the model only while a lens decodes.

LoRA of Hu et al. (2021), "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685, by peft, in its files.
Outside `in_place` the model has its own modules and computes bit for bit what it did before.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import safetensors.torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from overnight.errors import StoreError, UsageError
from overnight.store.files import write_json

_CONFIG: Final = "adapter_config.json"
_WEIGHTS: Final = "adapter_model.safetensors"
_NAME: Final = "default"
_PREFIX: Final = "base_model.model."  # of every name in peft's files


class Adapter:
    """Low-rank changes to some matrices of one model.

    Args:
        model: a causal language model of transformers; it is left as it was.
        config: peft's.

    Raises:
        UsageError: it is not known which matrices of this model are its attention.
    """

    def __init__(self, model: Any, config: LoraConfig) -> None:
        needs_gradient = {name: each.requires_grad for name, each in model.named_parameters()}
        try:
            inject_adapter_in_model(config, model, adapter_name=_NAME)
        except ValueError as error:
            raise UsageError(
                f"{type(model).__name__}: no low-rank changes to its attention ({error}); "
                "set decoder.lora_rank to 0"
            ) from None
        self._config = config
        self._own: dict[str, nn.Module] = {}
        self._changed: dict[str, LoraLayer] = {}
        self._model = model
        for name, module in list(model.named_modules()):
            if isinstance(module, LoraLayer):
                # What is learned is learned in float32, whatever dtype the model has.
                module.lora_A.float()
                module.lora_B.float()
                self._changed[name] = module
                self._own[name] = module.get_base_layer()
        self._restore(needs_gradient)

    @classmethod
    def new(cls, model: Any, rank: int) -> Self:
        """Return changes that change nothing yet; one of the two factors is drawn by torch's generator."""
        return cls(model, LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, task_type="CAUSAL_LM"))

    @classmethod
    def read(cls, model: Any, folder: Path) -> Self:
        """Return the changes that a folder holds.

        Raises:
            StoreError: it holds none, or those of another model.
        """
        try:
            config = LoraConfig.from_pretrained(str(folder))
            weights = safetensors.torch.load_file(folder / _WEIGHTS)
        except (OSError, ValueError, TypeError, safetensors.SafetensorError) as error:
            raise StoreError(f"{folder}: no adapter of peft ({' '.join(str(error).split())})") from None
        adapter = cls(model, config)
        own = adapter.weights()
        if {name: each.shape for name, each in weights.items()} != {n: each.shape for n, each in own.items()}:
            raise StoreError(f"{folder}: low-rank changes of another model; fit the lens again")
        for name, each in own.items():
            each.data.copy_(weights[name])
        return adapter

    def weights(self) -> dict[str, nn.Parameter]:
        """Return the numbers that are learned, by their names in peft's files."""
        return {
            f"{_PREFIX}{name}.{factor}.weight": getattr(module, factor)[_NAME].weight
            for name, module in self._changed.items()
            for factor in ("lora_A", "lora_B")
        }

    def write(self, folder: Path) -> None:
        """Write peft's files."""
        folder.mkdir(parents=True, exist_ok=True)
        self._config.base_model_name_or_path = None
        self._config.inference_mode = True
        # Not peft's `save_pretrained`: sets have no order there, and the same lens is to be the same files.
        settings = self._config.to_dict()  # type: ignore[no-untyped-call]  # of peft
        write_json(
            folder / _CONFIG,
            {
                name: sorted(each) if isinstance(each, set) else each
                for name, each in sorted(settings.items())
            },
        )
        weights: dict[str, Tensor] = {
            name: each.detach().cpu().contiguous() for name, each in self.weights().items()
        }
        safetensors.torch.save_file(weights, folder / _WEIGHTS, metadata={"format": "pt"})

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the changes in the model inside this block."""
        try:
            for name, changed in self._changed.items():
                self._model.set_submodule(name, changed)
            yield
        finally:
            for name, own in self._own.items():
                self._model.set_submodule(name, own)

    def _restore(self, needs_gradient: dict[str, bool]) -> None:
        for name, module in self._own.items():
            self._model.set_submodule(name, module)
        if hasattr(self._model, "peft_config"):
            del self._model.peft_config  # it would stand in the way of another lens
        for name, parameter in self._model.named_parameters():
            parameter.requires_grad_(needs_gradient[name])
