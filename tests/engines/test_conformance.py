"""The same weights say the same, and as surely, through llama.cpp and through transformers.

The tolerances and what they have room for are measured in docs/engines.md.
"""

from pathlib import Path

import pytest

from overnight.conformance.prompts import prompts
from overnight.conformance.running import Given, agreement, answers_of
from overnight.conformance.tolerance import FLOAT, QUANTISED
from overnight.spec.model import ModelSpec
from tests.engines.gguf_copies import copy_gguf

SHORT = ("capital", "accents", "emoji", "json", "python", "poem")


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
    return copy_gguf(weights, tmp_path_factory.mktemp("wide") / "wide.gguf", is_widened=True)


@pytest.fixture(scope="module")
def by_transformers(dequantised_weights: Path) -> Given:
    return _answers(dequantised_weights, engine="transformers")


def test_float_weights_answer_the_same_through_both_engines(wide, by_transformers) -> None:
    found = agreement(_answers(wide), by_transformers)
    assert found.tolerance is FLOAT
    assert found.problems == {}
    assert found.n_same_count == len(SHORT)
    assert found.n_identical >= len(SHORT) - 1  # room for one tie on another processor
    assert found.n_tokens > 60


def test_quantised_weights_answer_the_same_but_for_ties_and_rounding(weights, by_transformers) -> None:
    found = agreement(_answers(weights), by_transformers)
    assert found.tolerance is QUANTISED
    assert found.problems == {}
    assert found.n_same_count == len(SHORT)
    assert found.n_tokens > 40


def test_a_model_that_is_held_wrongly_is_found_out(weights, by_transformers, tmp_path) -> None:
    # The wider tolerance would be worth nothing if it held what a converter gets wrong: here the base of the rotary
    # embedding, 10,000 in place of this model's 100,000, with which it still speaks English.
    wrong = copy_gguf(weights, tmp_path / "wrong.gguf", llama_rope_freq_base=10_000.0)
    found = agreement(_answers(wrong), by_transformers)
    assert found.tolerance is QUANTISED
    assert not found.agrees
    assert len(found.problems) >= len(SHORT) // 2


@pytest.mark.slow
def test_all_prompts_agree_within_the_tolerances(wide, weights, dequantised_weights) -> None:
    every = tuple(prompts())
    reference = _answers(dequantised_weights, every, 32, engine="transformers")
    for source in (wide, weights):
        found = agreement(_answers(source, every, 32), reference)
        assert found.problems == {}
        assert found.n_same_count == len(every)
