"""Loading a folder of weights: on one device, in one dtype, and never anywhere else without being asked."""

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from overnight.engines.transformers.memory import release


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model that can be asked."""

    model: Any
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    eos_ids: frozenset[int]


def load(
    folder: Path,
    *,
    dtype: str,
    bits: str | None = None,
    device: str | None = None,
    attention: str | None = None,
    trust_remote_code: bool = False,
) -> Loaded:
    """Return the model of a folder.

    Args:
        folder: ``config.json``, a tokenizer and ``*.safetensors``.
        dtype: what is computed in.
        bits: ``int8`` or ``nf4``: held so by bitsandbytes.
        device: ``cuda``, ``mps`` or ``cpu``; None for the best that there is.
        attention: implementation; None for transformers' choice.
        trust_remote_code: run the code that comes with the weights.

    Raises:
        ValueError: there is no such device, or a part of the model was put elsewhere.
        RuntimeError, MemoryError: it does not fit.
    """
    _silence()
    place = choose_device(device)
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
    _require_one_device(model, place)
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=trust_remote_code
    )
    release(place)  # what weights were made of in other dtypes
    return Loaded(
        model=model, tokenizer=tokenizer, device=place, dtype=precision, eos_ids=eos_ids(model, tokenizer)
    )


def choose_device(name: str | None) -> torch.device:
    """Return the device that was named, or the best that there is.

    Raises:
        ValueError: the one that was named is not there.
    """
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name is None:
        name = next(kind for kind, is_there in has.items() if is_there)
    if not has[name]:
        raise ValueError(
            f"execution.engine.transformers.device: {name}: torch {torch.__version__} finds none here; "
            f"it finds {', '.join(kind for kind, is_there in has.items() if is_there)}"
        )
    return torch.device(name, 0) if name == "cuda" else torch.device(name)


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


def _require_one_device(model: Any, device: torch.device) -> None:
    elsewhere = {str(p.device) for p in model.parameters() if p.device.type != device.type}
    if elsewhere:
        raise ValueError(
            f"parts of the model are on {', '.join(sorted(elsewhere))}, all were wanted on {device}"
        )


def _silence() -> None:
    transformers.utils.logging.disable_progress_bar()
    # bitsandbytes says for each multiplication that int8 is computed in float16.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="MatMul8bitLt")
