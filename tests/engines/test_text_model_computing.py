"""What a text-pair host computes, in this process: poolings, memory that runs out, values that are no numbers."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer  # noqa: E402

from overnight.errors import BadResponse, OutOfMemory  # noqa: E402
from overnight.text_models.computing import TextModel  # noqa: E402
from tests.engines.tiny_text_models import (  # noqa: E402
    save_classifier,
    save_embedding,
    save_sentencepiece,
    score_of,
)

TEXTS = ("Paris", "paris is the capital of France", "Lyon ?", "is it a city in France ?", "", "no")
PAIRS = [(one, other) for one in TEXTS for other in TEXTS]


def model_of(folder: Path, kind: str, **facts: Any) -> TextModel:
    plain = {"kind": kind, "max_tokens": None, "pooling": None, "lower_cased": False, "entailment": None}
    return TextModel(folder, plain | facts, torch.device("cpu"))


def cosine(a: Any, b: Any) -> float:
    return float(a @ b / (a.norm() * b.norm()))


@pytest.mark.parametrize(
    ("pooling", "vector"),
    [
        ("mean", lambda states: states.mean(dim=0)),
        ("max", lambda states: states.amax(dim=0)),
        ("cls", lambda states: states[0]),
    ],
)
def test_a_text_is_the_vector_that_its_pooling_makes_of_it(tmp_path: Path, pooling: str, vector) -> None:
    # Each text on its own, without padding, against all of them in one batch.
    folder = save_embedding(tmp_path / "m")
    tokenizer, plain = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        states = {t: plain(**tokenizer(t, return_tensors="pt")).last_hidden_state[0] for t in TEXTS}
    expected = [max(0.0, cosine(vector(states[one]), vector(states[other]))) for one, other in PAIRS]
    found = model_of(folder, "sentence-embedding", pooling=pooling).values(PAIRS)
    assert [each.values[0] for each in found] == pytest.approx(expected, abs=1e-4)


def test_a_text_that_says_the_opposite_is_not_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A cosine of -1 is as far from 1 as can be: a relevance of 1, not of 2, nor of 0 by its size.
    model = model_of(save_embedding(tmp_path / "m"), "sentence-embedding", pooling="mean")
    vectors = iter([torch.tensor([[1.0, 0.0], [-1.0, 0.0]])])
    monkeypatch.setattr(model, "_vectors", lambda _: next(vectors))
    assert [each.values for each in model.values([("no", "yes")])] == [[0.0]]


def test_texts_are_read_in_lower_case_where_the_model_says_so(tmp_path: Path) -> None:
    model = model_of(save_embedding(tmp_path / "m"), "sentence-embedding", pooling="mean", lower_cased=True)
    assert model.values([("PARIS", " paris\n")])[0].values == [1.0]


def test_a_batch_that_does_not_fit_is_halved_and_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_classifier(tmp_path / "m", ("score",))
    model = model_of(folder, "cross-encoder")
    compute = model._probabilities

    def fits_three_rows(inputs: Any) -> Any:
        if len(inputs["input_ids"]) > 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes.")
        return compute(inputs)

    monkeypatch.setattr(model, "_probabilities", fits_three_rows)
    found = [each.values[0] for each in model.values(PAIRS)]
    assert found == pytest.approx([score_of(folder, *pair) for pair in PAIRS], abs=1e-4)
    assert model.halvings > 0


def test_a_pair_that_does_not_fit_alone_is_out_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(save_classifier(tmp_path / "m", ("score",)), "cross-encoder")

    def fits_nothing(_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    monkeypatch.setattr(model, "_probabilities", fits_nothing)
    with pytest.raises(OutOfMemory, match="a text of up to 24 tokens does not fit: CUDA out of memory"):
        model.values(PAIRS[:3])


def test_an_error_that_is_not_about_memory_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(save_classifier(tmp_path / "m", ("score",)), "cross-encoder")

    def breaks(_: Any) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(model, "_probabilities", breaks)
    with pytest.raises(RuntimeError, match="shapes"):
        model.values(PAIRS)
    assert model.halvings == 0


def test_a_value_that_is_no_number_is_no_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(save_classifier(tmp_path / "m", ("score",)), "cross-encoder")
    monkeypatch.setattr(
        model, "_probabilities", lambda inputs: torch.full((len(inputs["input_ids"]), 1), torch.nan)
    )
    with pytest.raises(BadResponse, match="a value that is no number"):
        model.values(PAIRS)


def test_a_tokenizer_of_sentencepiece_is_read(tmp_path: Path) -> None:
    # As the published entailment models of the DeBERTa family have it, with weights in 16 bits.
    folder = save_sentencepiece(tmp_path / "m", ("CONTRADICTION", "NEUTRAL", "ENTAILMENT"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    plain = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    expected = []
    for one, other in PAIRS:
        with torch.no_grad():
            logits = plain(**tokenizer([one], [other], return_tensors="pt")).logits[0]
        expected.append(float(logits.softmax(0)[2]))
    found = model_of(folder, "entailment", entailment=2, max_tokens=64).values(PAIRS)
    assert [each.values[0] for each in found] == pytest.approx(expected, abs=1e-4)
    assert all(sum(each.values) == pytest.approx(1.0) for each in found)


def test_nothing_is_said_of_nothing(tmp_path: Path) -> None:
    model = model_of(save_embedding(tmp_path / "m"), "sentence-embedding", pooling="mean")
    assert model.values([]) == []
