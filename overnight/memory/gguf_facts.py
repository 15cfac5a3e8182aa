"""Sizes of a model from the header of its GGUF file, as llama.cpp reads them."""

import re
from pathlib import Path
from typing import Any

from overnight.errors import UsageError
from overnight.memory.facts import LayerFacts, ModelFacts, TensorFacts
from overnight.memory.gguf_header import Counted, GgufHeader, GgufTensor, read_header

# Which layers slide, where the file does not say: of every so many layers the last one sees everything (llama.cpp,
# src/llama-model.cpp, ``set_swa_pattern``).
_SLIDING_PERIODS = {
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "cohere2": 4,
    "gpt-oss": 2,
    "exaone4": 4,
    "llama4": 4,
    "olmo2": 4,
    "afmoe": 4,
}
_LLAMA4_CHUNK = 8192  # tokens; llama.cpp has it in code, files of llama4 do not
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<parts>\d{5})\.gguf")
_STATES = {
    "ssm.state_size": "its layers keep a state-space state",
    "ssm.conv_kernel": "its layers keep a state-space state",
    "wkv.head_size": "its layers keep a recurrent state",
    "shortconv.l_cache": "some of its layers keep a short convolution",
    "attention.kv_lora_rank": "it keeps compressed keys and values (multi-head latent attention)",
}


def read_gguf_facts(path: Path) -> ModelFacts:
    """Return the sizes of a model in GGUF; all parts of a split file are read.

    Raises:
        UsageError: a file is missing, is not a GGUF file or lacks what every model has.
    """
    headers = [read_header(part) for part in _parts(path)]
    metadata = headers[0].metadata
    architecture = str(metadata.get("general.architecture", "unknown"))
    keys = {
        name.removeprefix(f"{architecture}."): value
        for name, value in metadata.items()
        if name.startswith(f"{architecture}.")
    }
    try:
        return _facts(path, architecture, keys, headers)
    except KeyError as error:
        raise UsageError(
            f"{path}: its header has no {architecture}.{error.args[0]}; give a language model in GGUF"
        ) from None


def _facts(path: Path, architecture: str, keys: dict[str, Any], headers: list[GgufHeader]) -> ModelFacts:
    n_layers = int(keys["block_count"])
    hidden = int(keys["embedding_length"])
    tensors = [tensor for header in headers for tensor in header.tensors]
    why = next((f"{architecture}: {why}" for key, why in _STATES.items() if key in keys), None)
    heads = _per_layer(keys.get("attention.head_count", 0), n_layers)
    window, sliding, notes = _sliding(architecture, keys, n_layers)
    if not any(heads):
        why = why or f"{architecture}: it has no attention heads"
    layers = () if why else _layers(keys, n_layers, hidden, heads, sliding)
    vocab = keys.get("vocab_size") or _length(headers[0].metadata.get("tokenizer.ggml.tokens"))
    return ModelFacts(
        path=path,
        file_format="gguf",
        architecture=architecture,
        tensors=tuple(_tensor(tensor, path) for tensor in tensors),
        layers=layers,
        heads=max(heads, default=0),
        hidden_size=hidden,
        ffn_size=_ffn_size(keys, n_layers),
        vocab_size=int(vocab or 0),
        n_merges=_length(headers[0].metadata.get("tokenizer.ggml.merges")),
        trained_context=keys.get("context_length"),
        sliding_window=window,
        unknown_because=why,
        notes=notes,
    )


def _layers(
    keys: dict[str, Any], n_layers: int, hidden: int, heads: list[int], sliding: list[bool]
) -> tuple[LayerFacts, ...]:
    kv_heads = _per_layer(keys.get("attention.head_count_kv", heads), n_layers)
    whole = hidden // max(heads)
    k_dim = int(keys.get("attention.key_length", whole))
    v_dim = int(keys.get("attention.value_length", whole))
    k_sliding = int(keys.get("attention.key_length_swa", k_dim))
    v_sliding = int(keys.get("attention.value_length_swa", v_dim))
    return tuple(
        LayerFacts(
            kv_heads=n,
            k_dim=k_sliding if slides else k_dim,
            v_dim=v_sliding if slides else v_dim,
            is_sliding=slides,
        )
        for n, slides in zip(kv_heads, sliding, strict=True)
    )


def _sliding(
    architecture: str, keys: dict[str, Any], n_layers: int
) -> tuple[int | None, list[bool], tuple[str, ...]]:
    """Return the window in tokens, which layers have it, and what is to be said of it."""
    window = keys.get("attention.sliding_window") or keys.get("attention.chunk_size")
    if architecture == "llama4":
        window = window or _LLAMA4_CHUNK
    if not window:
        return None, [False] * n_layers, ()
    pattern = keys.get("attention.sliding_window_pattern", _SLIDING_PERIODS.get(architecture))
    if isinstance(pattern, list):
        if len(pattern) == n_layers:
            return int(window), [bool(slides) for slides in pattern], ()
    elif pattern:
        period = int(pattern)
        return int(window), [layer % period < period - 1 for layer in range(n_layers)], ()
    note = f"{architecture}: which layers slide is not known; all are taken to keep every token"
    return None, [False] * n_layers, (note,)


def _ffn_size(keys: dict[str, Any], n_layers: int) -> int:
    """Return the width of the feed-forward block of one token: dense, or of the experts that it uses."""
    dense = max(_per_layer(keys.get("feed_forward_length", 0), n_layers), default=0)
    used = int(keys.get("expert_used_count") or 0)
    if not used:
        return dense
    shared = int(keys.get("expert_shared_feed_forward_length") or 0)
    return used * int(keys.get("expert_feed_forward_length") or dense) + shared


def _tensor(tensor: GgufTensor, path: Path) -> TensorFacts:
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType  # noqa: PLC0415 - imports numpy

    try:
        kind = GGMLQuantizationType(tensor.type_number)
        block, block_bytes = GGML_QUANT_SIZES[kind]
    except (ValueError, KeyError):
        raise UsageError(
            f"{path}: tensor {tensor.name} is of type {tensor.type_number}, which gguf does not know; "
            "install a newer gguf"
        ) from None
    return TensorFacts(
        name=tensor.name,
        n_elements=tensor.n_elements,
        n_bytes=tensor.n_elements // block * block_bytes,
        n_rows=tensor.n_elements // tensor.shape[0] if tensor.shape and tensor.shape[0] else 1,
        stored_as=kind.name,
    )


def _per_layer(value: Any, n_layers: int) -> list[int]:
    """Return a number, or a list of one a layer, as the list; layers beyond the list have its last."""
    if not isinstance(value, list):
        return [int(value)] * n_layers
    padded = [*value, *value[-1:] * n_layers]
    return [int(one) for one in padded[:n_layers]]


def _length(value: Any) -> int:
    if isinstance(value, Counted):
        return value.n
    return len(value) if isinstance(value, list) else 0


def _parts(path: Path) -> list[Path]:
    """Return all parts of a split file, whichever of them is named."""
    matched = _PART.fullmatch(path.name)
    if matched is None:
        return [path]
    n = int(matched["parts"])
    parts = [path.with_name(f"{matched['stem']}-{number:05}-of-{n:05}.gguf") for number in range(1, n + 1)]
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise UsageError(f"{path.parent}: {missing[0]} is missing; a model in {n} parts needs them all")
    return parts
