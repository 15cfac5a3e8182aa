"""Sizes computed by hand, from what is published of the models."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.memory.estimate import Place, kv_bytes, kv_cache_bytes
from overnight.memory.facts import LayerFacts, ModelFacts, TensorFacts
from overnight.memory.llama_cpp_estimate import LlamaCppSettings, estimate_llama_cpp

GIB = 1 << 30
MIB = 1 << 20


def model(**changes) -> ModelFacts:
    """Llama 3.1 8B: 32 layers, 8 key-value heads of 128, 4096 wide, 14336 in the feed-forward block."""
    plain = {
        "path": Path("m.gguf"),
        "file_format": "gguf",
        "architecture": "llama",
        "tensors": (
            TensorFacts(name="token_embd.weight", n_elements=100, n_bytes=200, n_rows=10, stored_as="F16"),
            *(
                TensorFacts(
                    name=f"blk.{n}.ffn_up.weight", n_elements=10, n_bytes=20, n_rows=5, stored_as="F16"
                )
                for n in range(32)
            ),
            TensorFacts(name="output.weight", n_elements=100, n_bytes=300, n_rows=10, stored_as="F16"),
        ),
        "layers": (LayerFacts(kv_heads=8, k_dim=128, v_dim=128),) * 32,
        "heads": 32,
        "hidden_size": 4096,
        "ffn_size": 14336,
        "vocab_size": 128256,
        "trained_context": 131072,
        "sliding_window": None,
    }
    return ModelFacts(**{**plain, **changes})


def test_the_cache_of_llama_3_1_8b_at_8192_tokens_is_one_gibibyte() -> None:
    # 2 x 32 layers x 8 heads x 128 x 2 bytes = 128 KiB a token; Llama 3 herd of models, table 3.
    assert kv_cache_bytes(model().layers, 1) == 128 * 1024
    assert kv_cache_bytes(model().layers, 8192) == GIB


def test_the_cache_of_llama_2_7b_is_half_a_mebibyte_a_token() -> None:
    # No grouped queries: 2 x 32 layers x 32 heads x 128 x 2 bytes.
    assert kv_cache_bytes((LayerFacts(kv_heads=32, k_dim=128, v_dim=128),) * 32, 1) == MIB // 2


@pytest.mark.parametrize(
    ("kv_type", "n_bytes"),
    [("f32", 128), ("f16", 64), ("bf16", 64), ("q8_0", 34), ("q5_1", 24), ("q4_0", 18)],
)
def test_a_block_of_32_has_the_bytes_that_ggml_gives_it(kv_type: str, n_bytes: int) -> None:
    # q8_0: 32 bytes and a half-precision scale; q4_0: 16 bytes and one.
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    assert kv_bytes(32, kv_type) == n_bytes
    n_in_block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[kv_type.upper()]]
    assert kv_bytes(32, kv_type) == 32 // n_in_block * block_bytes


def test_key_and_value_dimensions_may_differ() -> None:
    layer = LayerFacts(kv_heads=2, k_dim=192, v_dim=128)
    assert kv_cache_bytes([layer], 10) == 2 * (192 + 128) * 10 * 2


def test_sliding_layers_of_gemma_3_keep_their_window_and_one_batch() -> None:
    # Gemma 3 1B: 26 layers, of which 4 see everything; one key-value head of 256; a window of 512. llama.cpp adds a
    # batch of 512 to the window: 1024 cells, against 32768.
    layers = tuple(LayerFacts(kv_heads=1, k_dim=256, v_dim=256, is_sliding=n % 6 != 5) for n in range(26))
    gemma = model(layers=layers, sliding_window=512, architecture="gemma3")
    per_layer_and_token = 2 * 256 * 2
    needed = estimate_llama_cpp(gemma, LlamaCppSettings(slots=1, context_tokens=32768))
    assert needed.part("KV cache") == per_layer_and_token * (4 * 32768 + 22 * 1024)
    short = estimate_llama_cpp(gemma, LlamaCppSettings(slots=1, context_tokens=512))
    assert short.part("KV cache") == per_layer_and_token * 26 * 512


def test_every_slot_has_a_cache_of_its_own() -> None:
    one, four = (estimate_llama_cpp(model(), LlamaCppSettings(slots=n, context_tokens=2048)) for n in (1, 4))
    assert four.part("KV cache") == 4 * one.part("KV cache") == 4 * 2048 * 128 * 1024


def test_a_context_is_padded_as_llama_cpp_pads_it() -> None:
    needed = estimate_llama_cpp(model(), LlamaCppSettings(slots=1, context_tokens=300))
    assert needed.part("KV cache") == 512 * 128 * 1024


@pytest.mark.parametrize(
    ("hidden", "ffn", "heads", "kv_heads", "slots", "context", "logged_mib"),
    [
        # What llama.cpp b11549 logs as "compute buffer size" for models of these shapes, bf16 cache.
        (576, 1536, 9, 3, 1, 512, 15.14),
        (576, 1536, 9, 3, 8, 512, 15.14),
        (576, 1536, 9, 3, 2, 2048, 16.64),
        (576, 1536, 9, 3, 1, 8192, 22.64),
        (512, 2048, 8, 2, 1, 512, 17.52),
        (512, 4096, 16, 2, 1, 512, 29.52),
        (512, 2048, 8, 2, 2, 2048, 19.02),
    ],
)
def test_the_compute_buffer_is_the_one_that_llama_cpp_logs(
    hidden: int, ffn: int, heads: int, kv_heads: int, slots: int, context: int, logged_mib: float
) -> None:
    facts = model(
        hidden_size=hidden,
        ffn_size=ffn,
        heads=heads,
        vocab_size=32000,
        layers=(LayerFacts(kv_heads=kv_heads, k_dim=64, v_dim=64),) * 4,
    )
    needed = estimate_llama_cpp(facts, LlamaCppSettings(slots=slots, context_tokens=context))
    assert needed.part("compute buffer") / MIB == pytest.approx(logged_mib, abs=0.02)


def test_the_compute_buffer_of_a_model_with_windows_has_a_mask_for_each_cache() -> None:
    # Logged by llama.cpp b11549 for a gemma3 of 512 x 1024 with a window of 512, 2 slots of 2048: 14.03 MiB.
    layers = tuple(LayerFacts(kv_heads=2, k_dim=64, v_dim=64, is_sliding=n % 6 != 5) for n in range(13))
    facts = model(hidden_size=512, ffn_size=1024, vocab_size=32000, layers=layers, sliding_window=512)
    needed = estimate_llama_cpp(facts, LlamaCppSettings(slots=2, context_tokens=2048))
    assert needed.part("compute buffer") / MIB == pytest.approx(14.03, abs=0.03)
    assert needed.part("KV cache") == 15 * MIB  # logged: 4.00 and 11.00


def test_saved_prompts_grow_to_the_limit_of_the_cache_and_no_further() -> None:
    def saved(tokens: int | None) -> int:
        settings = LlamaCppSettings(slots=1, context_tokens=512, kv_type="f16", saved_tokens=tokens)
        return estimate_llama_cpp(model(), settings).part("saved prompts")

    assert saved(100) == 100 * 128 * 1024
    assert saved(10**9) == saved(None) == 512 * MIB


def test_a_model_on_the_gpu_leaves_its_embedding_on_the_host() -> None:
    needed = estimate_llama_cpp(model(), LlamaCppSettings(slots=1, context_tokens=512, gpu_layers=-1))
    weights = {part.place: part.n_bytes for part in needed.parts if part.name == "weights"}
    assert weights == {Place.DEVICE: 32 * 20 + 300, Place.HOST: 200}
    assert all(part.place is Place.DEVICE for part in needed.parts if part.name == "KV cache")


def test_an_embedding_that_is_the_output_too_is_on_both() -> None:
    tied = model(tensors=model().tensors[:-1])
    needed = estimate_llama_cpp(tied, LlamaCppSettings(slots=1, context_tokens=512, gpu_layers=-1))
    weights = {part.place: part.n_bytes for part in needed.parts if part.name == "weights"}
    assert weights == {Place.DEVICE: 32 * 20 + 200, Place.HOST: 200}


def test_some_layers_on_the_gpu_take_their_cache_with_them() -> None:
    needed = estimate_llama_cpp(model(), LlamaCppSettings(slots=1, context_tokens=8192, gpu_layers=8))
    cache = {part.place: part.n_bytes for part in needed.parts if part.name == "KV cache"}
    assert cache == {Place.DEVICE: GIB // 4, Place.HOST: GIB * 3 // 4}


def test_what_is_not_keys_and_values_has_no_total_and_a_reason() -> None:
    # A number that is a guess would be believed.
    mamba = model(layers=(), unknown_because="mamba: its layers keep a state-space state")
    needed = estimate_llama_cpp(mamba, LlamaCppSettings(slots=1, context_tokens=512))
    assert needed.total is None
    assert needed.undefined_because == "mamba: its layers keep a state-space state"
    assert needed.part("weights") == mamba.weight_bytes
    assert needed.as_row()["total_bytes"] is None


@given(
    slots=st.integers(1, 64),
    context=st.integers(1, 200_000),
    kv_type=st.sampled_from(["f16", "q8_0", "q4_0"]),
    layers=st.integers(-1, 40),
)
def test_stepping_down_never_needs_more(slots: int, context: int, kv_type: str, layers: int) -> None:
    # The ladder goes down in slots, then in context; a step that needed more would be no step down.
    def total(n_slots: int, n_tokens: int) -> int:
        settings = LlamaCppSettings(
            slots=n_slots, context_tokens=n_tokens, kv_type=kv_type, gpu_layers=layers
        )
        return estimate_llama_cpp(model(), settings).total or 0

    assert total(max(1, slots // 2), context) <= total(slots, context)
    assert total(slots, max(1, context // 2)) <= total(slots, context)
