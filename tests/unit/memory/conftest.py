from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter


@pytest.fixture
def write_gguf(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of small GGUF files: two layers of 64 wide, four heads, two of keys and values."""

    def write(
        name: str = "small.gguf",
        architecture: str = "llama",
        n_layers: int = 2,
        vocabulary: int = 5000,
        kv_heads: int | list[int] = 2,
        more: Callable[[GGUFWriter], None] = lambda _: None,
    ) -> Path:
        path = tmp_path / name
        writer = GGUFWriter(path, architecture)
        writer.add_block_count(n_layers)
        writer.add_context_length(2048)
        writer.add_embedding_length(64)
        writer.add_feed_forward_length(160)
        writer.add_head_count(4)
        writer.add_head_count_kv(kv_heads)
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list([f"token{n}" for n in range(vocabulary)])
        writer.add_token_types([1] * vocabulary)
        more(writer)
        writer.add_tensor("token_embd.weight", np.zeros((vocabulary, 64), np.float16))
        for layer in range(n_layers):
            writer.add_tensor(f"blk.{layer}.attn_norm.weight", np.zeros(64, np.float32))
            writer.add_tensor(f"blk.{layer}.ffn_up.weight", np.zeros((160, 64), np.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


@pytest.fixture
def write_hf(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of folders with ``config.json`` and safetensors of zeros."""

    def write(config: Mapping[str, Any], tensors: Mapping[str, Any], name: str = "model.safetensors") -> Path:
        import json

        from safetensors.numpy import save_file

        folder = tmp_path / "hf"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        save_file(dict(tensors), folder / name)
        return folder

    return write
