"""Sizes of a model from a folder with ``config.json`` and safetensors, as transformers reads them."""

import json
import math
import struct
from pathlib import Path
from typing import Any

from overnight.errors import StoreError, UsageError
from overnight.memory.facts import LayerFacts, ModelFacts, TensorFacts
from overnight.store.files import read_json

_INDEX = "model.safetensors.index.json"
_LONGEST_HEADER = 100_000_000  # bytes; the format's own limit
_SLIDING_TYPES = {"sliding_attention", "chunked_attention"}
_STATES = {
    "kv_lora_rank": "it keeps compressed keys and values (multi-head latent attention)",
    "state_size": "its layers keep a state-space state",
    "mamba_d_state": "its layers keep a state-space state",
    "ssm_state_size": "its layers keep a state-space state",
    "rescale_every": "its layers keep a recurrent state",
    "lru_width": "its layers keep a recurrent state",
    "linear_num_value_heads": "some of its layers keep a linear-attention state",
    "conv_L_cache": "some of its layers keep a short convolution",
}


def read_hf_facts(folder: Path) -> ModelFacts:
    """Return the sizes of a model in a folder as the Hugging Face hub has it; of tensors only headers are read.

    Raises:
        UsageError: ``config.json`` or the safetensors are missing, damaged, or lack what every model has.
    """
    whole = _json(folder / "config.json")
    config = whole.get("text_config") or whole
    if not isinstance(config, dict):
        raise UsageError(f"{folder}/config.json: text_config: found {config!r}, wanted a mapping")
    architecture = str(config.get("model_type") or whole.get("model_type") or "unknown")
    tensors = tuple(tensor for file in _files(folder) for tensor in _tensors(file))
    why = next((f"{architecture}: {why}" for key, why in _STATES.items() if config.get(key)), None)
    try:
        n_layers = int(config.get("num_hidden_layers") or config["n_layer"])
        hidden = int(config.get("hidden_size") or config["n_embd"])
    except KeyError as error:
        raise UsageError(
            f"{folder}/config.json: {error.args[0]}: missing; give the folder of a language model"
        ) from None
    heads = int(config.get("num_attention_heads") or config.get("n_head") or 0)
    if not heads:
        why = why or f"{architecture}: it has no attention heads"
    window, sliding, notes = _sliding(config, architecture, n_layers)
    return ModelFacts(
        path=folder,
        file_format="safetensors",
        architecture=architecture,
        tensors=tensors,
        layers=() if why else _layers(config, hidden, heads, sliding),
        heads=heads,
        hidden_size=hidden,
        ffn_size=_ffn_size(config, hidden),
        vocab_size=int(config.get("vocab_size") or 0),
        trained_context=config.get("max_position_embeddings") or config.get("n_positions"),
        sliding_window=window,
        unknown_because=why,
        notes=notes,
    )


def _layers(config: dict[str, Any], hidden: int, heads: int, sliding: list[bool]) -> tuple[LayerFacts, ...]:
    kv_heads = int(config.get("num_key_value_heads") or (1 if config.get("multi_query") else heads))
    dim = int(config.get("head_dim") or hidden // heads)
    return tuple(LayerFacts(kv_heads=kv_heads, k_dim=dim, v_dim=dim, is_sliding=slides) for slides in sliding)


def _sliding(
    config: dict[str, Any], architecture: str, n_layers: int
) -> tuple[int | None, list[bool], tuple[str, ...]]:
    window = config.get("sliding_window") or config.get("attention_chunk_size")
    if not window or config.get("use_sliding_window") is False:
        return None, [False] * n_layers, ()
    types = config.get("layer_types")
    if isinstance(types, list) and len(types) == n_layers:
        return int(window), [kind in _SLIDING_TYPES for kind in types], ()
    period = config.get("sliding_window_pattern") or config.get("_sliding_window_pattern")
    if period:
        return int(window), [layer % int(period) < int(period) - 1 for layer in range(n_layers)], ()
    if architecture in {"mistral", "phi3", "starcoder2", "mixtral"}:  # all layers slide
        return int(window), [True] * n_layers, ()
    if architecture in {"gemma2", "gpt_oss"}:
        return int(window), [layer % 2 == 0 for layer in range(n_layers)], ()
    note = f"{architecture}: which layers slide is not known; all are taken to keep every token"
    return None, [False] * n_layers, (note,)


def _ffn_size(config: dict[str, Any], hidden: int) -> int:
    dense = int(config.get("intermediate_size") or config.get("n_inner") or 4 * hidden)
    used = int(config.get("num_experts_per_tok") or 0)
    if not used:
        return dense
    shared = int(config.get("shared_expert_intermediate_size") or 0)
    return used * int(config.get("moe_intermediate_size") or dense) + shared


def _files(folder: Path) -> list[Path]:
    index = folder / _INDEX
    if index.is_file():
        names = sorted(set(_json(index).get("weight_map", {}).values()))
        files = [folder / str(name) for name in names]
    else:
        files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UsageError(f"{folder}: no safetensors here; wanted model.safetensors beside config.json")
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise UsageError(f"{folder}: {missing[0]} is missing; {_INDEX} names it: download the model again")
    return files


def _tensors(file: Path) -> list[TensorFacts]:
    """Return the tensors of a file: eight bytes of length, that many bytes of JSON, then data that are not read."""
    try:
        with file.open("rb") as stream:
            length = struct.unpack("<Q", stream.read(8))[0]
            if length > min(_LONGEST_HEADER, file.stat().st_size - 8):
                raise ValueError(length)  # noqa: TRY301 - one message for all that can be wrong
            header = json.loads(stream.read(length))
        return [
            TensorFacts(
                name=name,
                n_elements=math.prod(entry["shape"]),
                n_bytes=entry["data_offsets"][1] - entry["data_offsets"][0],
                n_rows=math.prod(entry["shape"][:-1]),
                stored_as=entry["dtype"],
            )
            for name, entry in header.items()
            if name != "__metadata__"
        ]
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror})") from None
    except (struct.error, ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{file}: not a safetensors file, or it is damaged; download it again") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except StoreError as error:
        raise UsageError(f"{error}; wanted a folder as the Hugging Face hub has it") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path}: found a {type(value).__name__}, wanted a mapping")
    return value
