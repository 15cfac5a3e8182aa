import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from overnight.errors import UsageError
from overnight.memory.facts import read_facts

CONFIG = {
    "model_type": "llama",
    "num_hidden_layers": 1,
    "hidden_size": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 10,
    "max_position_embeddings": 128,
}
TENSORS = {
    "model.embed_tokens.weight": np.zeros((10, 8), np.float32),
    "model.layers.0.mlp.up_proj.weight": np.zeros((16, 8), np.float16),
    "model.norm.weight": np.zeros(8, np.float32),
}


def test_sizes_come_from_the_config_and_the_headers(write_hf: Callable[..., Path]) -> None:
    facts = read_facts(write_hf(CONFIG, TENSORS))
    assert facts.weight_bytes == 10 * 8 * 4 + 16 * 8 * 2 + 8 * 4
    assert facts.layer_bytes == (16 * 8 * 2,)
    assert facts.embedding_bytes == 10 * 8 * 4
    assert [(layer.kv_heads, layer.k_dim) for layer in facts.layers] == [(2, 2)]
    assert (facts.heads, facts.ffn_size, facts.vocab_size, facts.trained_context) == (4, 16, 10, 128)


def test_the_language_model_within_a_larger_one_is_meant(write_hf: Callable[..., Path]) -> None:
    facts = read_facts(write_hf({"model_type": "gemma3", "text_config": CONFIG}, TENSORS))
    assert facts.architecture == "llama"
    assert facts.hidden_size == 8


def test_sliding_layers_are_those_that_the_config_lists(write_hf: Callable[..., Path]) -> None:
    config = CONFIG | {
        "num_hidden_layers": 3,
        "sliding_window": 512,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    }
    facts = read_facts(write_hf(config, TENSORS))
    assert [layer.is_sliding for layer in facts.layers] == [True, False, True]


def test_a_window_that_is_switched_off_is_none(write_hf: Callable[..., Path]) -> None:
    # Qwen 2 has a window in its config that it does not use.
    facts = read_facts(write_hf(CONFIG | {"sliding_window": 512, "use_sliding_window": False}, TENSORS))
    assert facts.sliding_window is None


def test_latent_attention_is_said_to_be_unknown(write_hf: Callable[..., Path]) -> None:
    facts = read_facts(write_hf(CONFIG | {"model_type": "deepseek_v3", "kv_lora_rank": 512}, TENSORS))
    assert "latent attention" in str(facts.unknown_because)


def test_every_file_of_the_index_is_counted_and_a_missing_one_is_named(write_hf: Callable[..., Path]) -> None:
    folder = write_hf(CONFIG, TENSORS, name="a.safetensors")
    index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(UsageError, match=r"b\.safetensors is missing"):
        read_facts(folder)
    write_hf(CONFIG, {"model.layers.0.b.weight": np.zeros((4, 4), np.float16)}, name="b.safetensors")
    assert read_facts(folder).weight_bytes == 10 * 8 * 4 + 16 * 8 * 2 + 8 * 4 + 32


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0[]", b"\x05\0\0\0\0\0\0\0{}"])
def test_damaged_safetensors_are_refused_in_one_line(content: bytes, write_hf: Callable[..., Path]) -> None:
    folder = write_hf(CONFIG, TENSORS)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(UsageError, match="not a safetensors file"):
        read_facts(folder)


def test_a_folder_without_a_model_says_what_was_wanted(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"config\.json: no such file; wanted a folder as the"):
        read_facts(tmp_path)
