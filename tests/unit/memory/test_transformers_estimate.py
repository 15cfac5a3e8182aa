"""Sizes computed by hand, from the shapes of the computation."""

from dataclasses import replace
from pathlib import Path

import pytest

from overnight.memory.estimate import Place
from overnight.memory.facts import LayerFacts, ModelFacts, TensorFacts
from overnight.memory.transformers_estimate import (
    TransformersSettings,
    estimate_transformers,
    held_bytes,
)

MATRIX = TensorFacts(
    name="model.layers.0.mlp.up_proj.weight", n_elements=6400, n_bytes=25600, n_rows=100, stored_as="F32"
)
EMBEDDING = TensorFacts(
    name="model.embed_tokens.weight", n_elements=640, n_bytes=2560, n_rows=10, stored_as="F32"
)
NORM = TensorFacts(
    name="model.layers.0.input_layernorm.weight", n_elements=64, n_bytes=256, n_rows=1, stored_as="F32"
)
FACTS = ModelFacts(
    path=Path("hf"),
    file_format="safetensors",
    architecture="llama",
    tensors=(MATRIX, EMBEDDING, NORM),
    layers=(LayerFacts(kv_heads=2, k_dim=16, v_dim=16),) * 3,
    heads=4,
    hidden_size=64,
    ffn_size=100,
    vocab_size=10,
    trained_context=2048,
    sliding_window=None,
)
BATCH = TransformersSettings(rows=4, prompt_tokens=10, new_tokens=5)


@pytest.mark.parametrize(
    ("dtype", "bits", "n_bytes"),
    [
        ("float32", None, 6400 * 4),
        ("bfloat16", None, 6400 * 2),
        ("bfloat16", "int8", 6400 + 100 * 4),  # a scale a row
        ("bfloat16", "nf4", 3200 + 100 * 4),  # a scale for 64 weights
    ],
)
def test_a_matrix_takes_what_its_format_says(dtype: str, bits: str | None, n_bytes: int) -> None:
    assert held_bytes(MATRIX, dtype, bits) == n_bytes


@pytest.mark.parametrize("bits", ["int8", "nf4"])
def test_bitsandbytes_leaves_the_embedding_and_the_norms_as_they_are(bits: str) -> None:
    assert held_bytes(EMBEDDING, "bfloat16", bits) == 640 * 2
    assert held_bytes(NORM, "bfloat16", bits) == 64 * 2


def test_the_cache_holds_every_row_to_its_end_and_one_layer_twice() -> None:
    # 4 rows x 15 tokens x 2 heads x (16 + 16) x 4 bytes, for 3 layers and the one that is being copied.
    assert estimate_transformers(FACTS, BATCH).part("KV cache") == 4 * 15 * 64 * 4 * (3 + 1)


def test_layers_with_a_window_keep_the_prompt_or_the_window_whichever_is_longer() -> None:
    # Prompts of 10 tokens, whole until the first token is there, and of 15 with their answers.
    layers = (*FACTS.layers[:2], replace(FACTS.layers[2], is_sliding=True))
    for window, kept in ((8, 10), (12, 12), (100, 15)):
        sliding = replace(FACTS, layers=layers, sliding_window=window)
        assert estimate_transformers(sliding, BATCH).part("KV cache") == 4 * 64 * 4 * (15 + 15 + kept + 15)


def test_captured_activations_are_layers_times_components_times_tokens_times_width() -> None:
    # 3 layers x 2 components x 4 rows of 10 + 5 tokens x 64 numbers of 2 bytes.
    settings = replace(BATCH, captured_layers=3, captured_components=2, captured_bytes=2)
    assert estimate_transformers(FACTS, settings).part("captured activations") == 3 * 2 * 60 * 64 * 2


def test_what_bitsandbytes_does_not_take_keeps_the_file_mapped() -> None:
    # Stored and computed in 32 bits: embedding and norm are the mapped file, whose matrix stays mapped beside its copy.
    needed = estimate_transformers(FACTS, replace(BATCH, bits="int8"))
    assert needed.part("file") == 6400 * 4
    assert needed.part("weights") == 6400 + 100 * 4 + 640 * 4 + 64 * 4


def test_a_gguf_file_is_dequantised_to_what_is_computed_in() -> None:
    gguf = replace(FACTS, file_format="gguf")
    assert estimate_transformers(gguf, replace(BATCH, dtype="bfloat16")).part("file while loading") == 0
    assert estimate_transformers(gguf, replace(BATCH, dtype="bfloat16", bits="nf4")).part("file") == 6400 * 2


def test_int8_on_the_cpu_is_multiplied_in_32_bits() -> None:
    # Counted by torch's profiler for a layer of SmolLM2 (576 wide, 1536 in the middle) in bfloat16: 2 rows of 256
    # tokens, less keys and values of 768 bytes. Twice, for what the C library keeps, where it is left as it is.
    facts = replace(FACTS, hidden_size=576, ffn_size=1536)
    for bits, per_token in ((None, 13060), ("int8", 32072), ("nf4", 13444)):
        settings = TransformersSettings(rows=2, prompt_tokens=256, new_tokens=0, dtype="bfloat16", bits=bits)
        alive = estimate_transformers(facts, settings).part("activations") / (1 if bits else 2)
        assert alive / 512 == pytest.approx(per_token, rel=0.05)


def test_what_bitsandbytes_itself_takes_is_counted_where_it_is_used() -> None:
    # Measured: 374 MiB resident with torch, transformers and accelerate, 427 with bitsandbytes.
    assert estimate_transformers(FACTS, replace(BATCH, bits="nf4")).part("bitsandbytes") == 53 * 2**20
    assert estimate_transformers(FACTS, BATCH).part("bitsandbytes") == 0


@pytest.mark.parametrize(
    ("rows", "window", "n_masks"),
    [
        (1, None, 0),  # no padding: sdpa is told that it is causal
        (4, None, 1),
        (1, 512, 0),
        (1, 256, 1),  # the window cuts the prompt: its layers have a mask, the others none
        (4, 512, 2),
        (4, 256, 2),
    ],
)
def test_masks_grow_with_the_square_of_the_prompt(rows: int, window: int | None, n_masks: int) -> None:
    # A byte for each mask, and 2 bytes for the numbers in bfloat16 that attention makes of one: for 256 x 256 tokens.
    layers = (*FACTS.layers[:2], replace(FACTS.layers[2], is_sliding=window is not None))
    facts = replace(FACTS, layers=layers, sliding_window=window)
    one = TransformersSettings(rows=1, prompt_tokens=256, new_tokens=0, dtype="bfloat16", bits="int8")
    without = rows * estimate_transformers(FACTS, one).part("activations")
    needed = estimate_transformers(facts, replace(one, rows=rows)).part("activations")
    assert needed - without == rows * 256**2 * (n_masks + 2 if n_masks else 0)


def test_a_batch_on_the_gpu_takes_the_gpu_and_its_process_the_host() -> None:
    needed = estimate_transformers(FACTS, replace(BATCH, is_on_device=True))
    places = {part.name: part.place for part in needed.parts}
    assert places["weights"] is places["KV cache"] is places["GPU context"] is Place.DEVICE
    assert places["process"] is Place.HOST


def test_weights_that_are_converted_have_their_file_beside_them_while_they_load() -> None:
    # Mapped weights are the file; converted ones are a second copy until the first is let go.
    large = replace(FACTS, tensors=(replace(MATRIX, n_elements=10**9, n_bytes=4 * 10**9),))
    assert estimate_transformers(large, BATCH).part("file while loading") == 0
    needed = estimate_transformers(large, replace(BATCH, dtype="bfloat16"))
    batch = sum(needed.part(name) for name in ("KV cache", "activations", "logits"))
    assert needed.part("file while loading") == 4 * 10**9 - batch


def test_what_is_not_keys_and_values_has_no_total() -> None:
    assert estimate_transformers(replace(FACTS, unknown_because="mamba"), BATCH).total is None
