"""Which weights llama.cpp holds twice: by the rules in its repack.cpp, with sizes computed by hand."""

from pathlib import Path

import pytest

from overnight.memory.facts import LayerFacts, ModelFacts, TensorFacts
from overnight.memory.llama_cpp_estimate import LlamaCppSettings, estimate_llama_cpp
from overnight.memory.repacking import repacked_types

MATRIX = 64 * 16 // 32 * 18  # Q4_0: blocks of 32 weights in 18 bytes


def tensor(name: str, stored_as: str = "Q4_0", n_rows: int = 16) -> TensorFacts:
    return TensorFacts(name=name, n_elements=64 * n_rows, n_bytes=MATRIX, n_rows=n_rows, stored_as=stored_as)


def copies(*tensors: TensorFacts, gpu_layers: int = 0, types: tuple[str, ...] | None = None) -> int:
    facts = ModelFacts(
        path=Path("m.gguf"),
        file_format="gguf",
        architecture="llama",
        tensors=tensors,
        layers=(LayerFacts(kv_heads=1, k_dim=16, v_dim=16),) * 2,
        heads=1,
        hidden_size=64,
        ffn_size=64,
        vocab_size=16,
        trained_context=512,
        sliding_window=None,
    )
    chosen = repacked_types("x86_64") if types is None else types
    settings = LlamaCppSettings(slots=1, context_tokens=256, gpu_layers=gpu_layers, repacked_types=chosen)
    return estimate_llama_cpp(facts, settings).part("repacked weights")


@pytest.mark.parametrize(
    ("stored_as", "n_bytes"),
    [
        ("Q4_0", MATRIX),
        ("Q4_K", MATRIX),
        ("IQ4_NL", MATRIX),
        ("Q4_1", 0),
        ("Q6_K", 0),
        ("Q8_0", 0),
        ("F16", 0),
    ],
)
def test_on_x86_some_types_are_copied_and_others_used_as_they_lie(stored_as: str, n_bytes: int) -> None:
    assert copies(tensor("blk.0.ffn_up.weight", stored_as)) == n_bytes


def test_a_matrix_with_rows_left_over_is_not_copied() -> None:
    assert copies(tensor("blk.0.ffn_up.weight", n_rows=12)) == 0


def test_an_embedding_is_copied_only_where_it_is_the_output_too() -> None:
    # It is looked up and not multiplied by; as an output it is a matrix like any other.
    assert copies(tensor("token_embd.weight"), tensor("output.weight")) == MATRIX
    assert copies(tensor("token_embd.weight"), tensor("output.weight", "Q6_K")) == 0
    assert copies(tensor("token_embd.weight")) == MATRIX


def test_what_lies_on_the_gpu_has_no_copy_on_the_host() -> None:
    layers = (tensor("blk.0.ffn_up.weight"), tensor("blk.1.ffn_up.weight"), tensor("output.weight"))
    assert copies(*layers) == 3 * MATRIX
    assert copies(*layers, gpu_layers=1) == 2 * MATRIX  # the last layer is on the GPU
    assert copies(*layers, gpu_layers=-1) == 0


def test_of_other_processors_nothing_is_guessed() -> None:
    assert repacked_types("aarch64") == repacked_types("arm64") == ()
    assert repacked_types("AMD64") == repacked_types("x86_64")
