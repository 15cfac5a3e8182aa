"""The same weights say the same, and as surely, through llama.cpp and through transformers.

Where the tolerances come from is told in docs/decisions/0011 and tested below.
"""

from pathlib import Path

import pytest

from overnight.conformance.prompts import prompts
from overnight.conformance.running import Given, agreement, answers_of
from overnight.conformance.tolerance import FLOAT, QUANTISED, Tolerance
from overnight.engines import holding
from overnight.spec.model import ModelSpec
from tests.engines.gguf_copies import copy_widened, copy_with_rope_base

SHORT = ("accents", "emoji", "json", "poem")
# Both compute in 32 bits; llama.cpp adds up the probabilities of all 49,152 tokens one by one. That loses 0.0001 nats
# (rms, and always to the same side, so a mean is no nearer); at the very most 49,152 times 2**-24, which is 0.003.
# No log odds may differ but by that: the room that every token has, 0.001.
EXACT = Tolerance(name="exact", odds=0.0, mean=1e-3, contains="a sum of probabilities in 32 bits")


def _answers(source: Path, names=SHORT, answer_tokens: int = 16, **changes) -> Given:
    fields = {
        "name": "smollm2",
        "source": str(source),
        "family": "smollm2",
        "params_billion": 0.135,
        "quantization": "F32",
        "context_tokens": 8192,
    }
    asked = {name: said for name, said in prompts().items() if name in names}
    return answers_of(ModelSpec(**(fields | changes)), asked, answer_tokens=answer_tokens, threads=1)


@pytest.fixture(scope="module")
def wide(weights: Path, tmp_path_factory) -> Path:
    """Return the model with its weights in 32 bits: what the dequantised folder holds, as a GGUF file."""
    return copy_widened(weights, tmp_path_factory.mktemp("wide") / "wide.gguf")


@pytest.fixture(scope="module")
def by_transformers(dequantised_weights: Path) -> Given:
    return _answers(dequantised_weights, engine="transformers")


def test_in_32_bits_both_engines_compute_the_same(wide, by_transformers, monkeypatch, pytestconfig) -> None:
    # Nothing is rounded here but in the last bits: whatever is wrong with template, tokens, weights, positions or
    # log-probabilities has no place to hide.
    monkeypatch.setattr(holding, "_LLAMA_CPP", "tests.engines.exact_llama_cpp_host")
    monkeypatch.setenv("PYTHONPATH", str(pytestconfig.rootpath))
    found = agreement(_answers(wide), by_transformers, EXACT)
    assert found.problems == {}
    assert found.n_same_count == found.n_identical == len(SHORT)
    assert found.n_tokens > 40


def test_float_weights_answer_the_same_but_for_the_attention_in_16_bits(wide, by_transformers) -> None:
    found = agreement(_answers(wide), by_transformers)
    assert found.tolerance is FLOAT
    assert found.problems == {}
    assert found.n_same_count == len(SHORT)
    assert found.n_identical >= len(SHORT) - 1  # room for one tie on another processor
    assert found.n_tokens > 40


def test_quantised_weights_answer_the_same_but_for_ties_and_rounding(weights, by_transformers) -> None:
    found = agreement(_answers(weights), by_transformers)
    assert found.tolerance is QUANTISED
    assert found.problems == {}
    assert found.n_same_count == len(SHORT)
    assert found.n_tokens > 20


def test_a_model_that_is_held_wrongly_is_found_out(weights, by_transformers, tmp_path) -> None:
    # The wider tolerance would be worth nothing if it held what a converter gets wrong: here the base of the rotary
    # embedding, 10,000 in place of this model's 100,000, with which it still speaks English.
    wrong = copy_with_rope_base(weights, tmp_path / "wrong.gguf", 10_000.0)
    found = agreement(_answers(wrong), by_transformers)
    assert found.tolerance is QUANTISED
    assert not found.agrees
    assert len(found.problems) >= len(SHORT) // 2


@pytest.mark.slow
def test_tolerances_are_eight_times_what_the_same_roundings_do_inside_transformers(
    dequantised_weights,
) -> None:
    # The log odds of a token may differ by 8 rms, the mean log-probability of an answer by 2: of figures that
    # llama.cpp had no part in.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tests.engines.roundings import (
        activations_in_8_bits,
        attention_in_bfloat16,
        log_odds,
        log_probabilities,
    )

    tokenizer = AutoTokenizer.from_pretrained(dequantised_weights)
    model = AutoModelForCausalLM.from_pretrained(dequantised_weights, dtype=torch.float32).eval()
    asked = []
    for said in prompts().values():
        given = tokenizer.apply_chat_template(
            list(said), add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        prompt = given["input_ids"][0].tolist()
        answer = model.generate(**given, do_sample=False, max_new_tokens=32)[0].tolist()[len(prompt) :]
        asked.append((prompt, answer))

    def every() -> torch.Tensor:
        return torch.cat([log_probabilities(model, *each) for each in asked])

    def rms(values: torch.Tensor) -> float:
        return float(values.square().mean().sqrt())

    plain = every()
    found = []
    with attention_in_bfloat16(model):
        found.append((FLOAT, every()))
        with activations_in_8_bits(model):
            found.append((QUANTISED, every()))
    for tolerance, rounded in found:
        assert tolerance.odds == pytest.approx(8 * rms(log_odds(rounded) - log_odds(plain)), rel=0.3)
        assert tolerance.mean == pytest.approx(2 * rms(rounded - plain), rel=0.3)


@pytest.mark.slow
def test_all_prompts_agree_within_the_tolerances(wide, weights, dequantised_weights) -> None:
    every = tuple(prompts())
    reference = _answers(dequantised_weights, every, 32, engine="transformers")
    for source in (wide, weights):
        found = agreement(_answers(source, every, 32), reference)
        assert found.problems == {}
        assert found.n_same_count == len(every)
