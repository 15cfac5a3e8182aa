"""Loading a folder of weights: on one device, in one dtype, and never anywhere else without being asked."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from overnight.engines.placement import Placement, require_usable_gpu, require_whole
from overnight.engines.transformers.memory import release
from overnight.errors import GpuUnusable

_INSTALL = (
    "install one that can: see https://pytorch.org/get-started/locally for the driver's version of CUDA"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model that can be asked."""

    model: Any
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    eos_ids: frozenset[int]

    @property
    def placement(self) -> Placement:
        """Where it lies: all of it on one device."""
        if self.device.type == "cpu":
            return Placement()
        is_cuda = self.device.type == "cuda"
        return Placement(devices=(torch.cuda.get_device_name(self.device) if is_cuda else "Apple GPU",))


def load(
    folder: Path,
    *,
    dtype: str,
    bits: str | None = None,
    device: str | None = None,
    attention: str | None = None,
    trust_remote_code: bool = False,
    gpus_there: Sequence[str] = (),
    may_offload: bool = False,
    gpu: int = 0,
) -> Loaded:
    """Return the model of a folder.

    Args:
        folder: ``config.json``, a tokenizer and ``*.safetensors``.
        dtype: what is computed in.
        bits: ``int8`` or ``nf4``: held so by bitsandbytes.
        device: ``cuda``, ``mps`` or ``cpu``; None for the best that there is.
        attention: implementation; None for transformers' choice.
        trust_remote_code: run the code that comes with the weights.
        gpus_there: that this machine has, whatever torch can use of them.
        may_offload: the processor may take the place of a GPU.
        gpu: which one, of those that torch sees.

    Raises:
        GpuUnusable: torch cannot use the GPU that was asked for, or that there is.
        OutOfMemory: a part of the model was put elsewhere.
        RuntimeError, MemoryError: it does not fit.
    """
    _silence()
    place = choose_device(device, gpus_there, may_offload=may_offload, gpu=gpu)
    precision: torch.dtype = getattr(torch, dtype)
    more = {"attn_implementation": attention} if attention else {}
    if bits is not None:
        more["quantization_config"] = _bits(bits, precision)
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=precision,
        # Never "auto", which puts what does not fit on the CPU or on the disk, and says so nowhere.
        device_map={"": str(place)},
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=trust_remote_code,
        **more,
    ).eval()
    _require_one_device(model, place, folder.name)
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=trust_remote_code
    )
    release(place)  # what weights were made of in other dtypes
    return Loaded(
        model=model, tokenizer=tokenizer, device=place, dtype=precision, eos_ids=eos_ids(model, tokenizer)
    )


def choose_device(
    name: str | None, gpus_there: Sequence[str] = (), *, may_offload: bool = False, gpu: int = 0
) -> torch.device:
    """Return the device that was named, or the best that there is.

    Raises:
        GpuUnusable: the one that was named is not there; or none was, and torch cannot use the GPU that is there; or
            there are fewer GPUs than processes that want one each.
    """
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    found = [kind for kind, is_there in has.items() if is_there]
    if name != "cpu":
        require_usable_gpu(
            engine=f"torch {torch.__version__}",
            seen=found if name is None else [kind for kind in found if kind == name],
            there=gpus_there,
            asked=f"execution.engine.transformers.device: {name}" if name else None,
            is_refused=not may_offload,
            install=_INSTALL,
        )
    chosen = name or (found[0] if found else "cpu")
    if chosen != "cuda":
        return torch.device(chosen)
    if gpu >= torch.cuda.device_count():
        raise GpuUnusable(
            f"torch sees {torch.cuda.device_count()} GPUs, and more processes want one each; lower "
            "execution.num_processes, or set execution.engine.transformers.device: cpu to share the processor"
        )
    return torch.device(chosen, gpu)


def eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return all tokens that end an answer: chat models have several, and name some of them in one place only."""
    found: set[int] = set()
    for named in (model.generation_config.eos_token_id, tokenizer.eos_token_id):
        found |= {named} if isinstance(named, int) else set(named or ())
    return frozenset(found)


def _bits(bits: str, precision: torch.dtype) -> BitsAndBytesConfig:
    if bits == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=precision)


def _require_one_device(model: Any, device: torch.device, name: str) -> None:
    sizes = [(p.device.type == device.type, p.numel() * p.element_size()) for p in model.parameters()]
    require_whole(name, sum(size for is_there, size in sizes if is_there), sum(size for _, size in sizes))


def _silence() -> None:
    transformers.utils.logging.disable_progress_bar()
    # bitsandbytes says for each multiplication that int8 is computed in float16.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="MatMul8bitLt")
