import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from overnight.cli import doctoring_conformance, main
from overnight.conformance import running
from overnight.conformance.comparing import Agreement, compare
from overnight.conformance.pairing import Pair, pair_of
from overnight.conformance.prompts import prompts
from overnight.conformance.tolerance import QUANTISED
from overnight.engines.protocol import Completion, Step, Token
from overnight.errors import UsageError
from overnight.records import FinishReason
from overnight.spec.model import EngineKind, ModelSpec


def model(**changes) -> ModelSpec:
    fields = {
        "name": "m",
        "source": "m.gguf",
        "family": "f",
        "params_billion": 1,
        "quantization": "Q4_K_M",
        "context_tokens": 2048,
    }
    return ModelSpec(**(fields | changes))


@pytest.mark.parametrize("source", ["m.gguf", "pypi:p==1#folder/m.GGUF", "hf:o/r/m.gguf"])
def test_a_gguf_file_is_held_by_llama_cpp_and_by_transformers_which_loses_nothing(source) -> None:
    pair = pair_of(model(source=source, sha256="a" * 64))
    assert pair.second.engine is EngineKind.TRANSFORMERS
    assert pair.second.compute_dtype == "float32"
    assert (pair.second.source, pair.second.sha256) == (source, "a" * 64)

    other_way = pair_of(model(source=source, engine="transformers"))
    assert other_way.second.engine is EngineKind.LLAMA_CPP


@pytest.mark.parametrize(
    "changes",
    [
        {"engine": "ollama", "source": "ollama:llama3.2:1b"},
        {"engine": "transformers", "source": "folder", "quantization": "bf16"},
        {
            "engine": "openai_compatible",
            "source": "openai:m",
            "endpoint": {"base_url": "http://127.0.0.1:1/v1", "dialect": "vllm"},
        },
    ],
    ids=["ollama", "folder", "served"],
)
def test_what_is_no_gguf_file_wants_one_and_is_compared_with_llama_cpp(changes, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no GGUF file .*--against FILE\.gguf"):
        pair_of(model(**changes))
    with pytest.raises(UsageError, match=r"gone\.gguf: no such file"):
        pair_of(model(**changes), tmp_path / "gone.gguf")
    file = tmp_path / "same.gguf"
    file.touch()
    pair = pair_of(model(**changes), file)
    assert (pair.second.engine, pair.second.source) == (EngineKind.LLAMA_CPP, str(file))
    assert pair.second.sha256 is None  # of another file


def test_a_file_that_is_not_needed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not needed"):
        pair_of(model(), tmp_path / "m.gguf")
    with pytest.raises(UsageError, match="dry_run"):
        pair_of(model(engine="dry_run"))


def test_the_prompts_are_of_many_kinds_and_their_names_are_their_own() -> None:
    asked = prompts()
    assert 20 <= len(asked) <= 30
    lengths = [len(said[-1]["content"]) for said in asked.values()]
    assert min(lengths) < 10
    assert max(lengths) > 500
    assert any(not said[-1]["content"].isascii() for said in asked.values())
    assert {len(said) for said in asked.values()} == {1, 2}  # without a system prompt, and with


def _answer(logprob: float) -> Completion:
    return Completion(
        text="a",
        finish_reason=FinishReason.STOP,
        prompt_tokens=5,
        cached_tokens=None,
        completion_tokens=1,
        token_logprobs=(logprob,),
        latency_s=0.1,
        sent={},
        steps=(Step(taken=Token(piece=b"a", logprob=logprob), likeliest=()),),
    )


@pytest.fixture
def found(monkeypatch):
    """Return a function that says how far the two engines are apart, without engines."""

    def apart(by: float) -> None:
        answers = [_answer(value) for value in (-1.0, -1.0 - by)]
        agreement = Agreement(compared=(compare("capital", *answers),), tolerance=QUANTISED)
        pair = Pair(first=model(), second=model(engine="transformers"))
        monkeypatch.setattr(doctoring_conformance, "find_model", lambda _: model())
        monkeypatch.setattr(doctoring_conformance, "pair_of", lambda *_: pair)
        monkeypatch.setattr(doctoring_conformance, "check_conformance", lambda *_, **__: agreement)

    return apart


def test_the_exit_code_says_whether_they_agree(found, capsys) -> None:
    found(0.25)
    with pytest.raises(SystemExit) as leaving:
        main(["doctor", "--conformance", "m"])
    assert leaving.value.code == 0
    said = capsys.readouterr().out
    assert "the worst answer by 0.25000 a token" in said
    assert "the engines agree: 1 of 1 prompts" in said
    assert said.splitlines()[1].split() == ["capital", "identical", "1", "-0.25000", "0.25000", "yes"]

    found(1.25)
    with pytest.raises(SystemExit) as leaving:
        main(["doctor", "--conformance", "m", "--json"])
    assert leaving.value.code == 1
    record = json.loads(capsys.readouterr().out)
    assert record["agrees"] is False
    assert record["worst_g_nll_difference_per_token"] == -1.25  # the first engine is surer
    assert record["tolerance"] == {
        "name": "quantised",
        "odds": QUANTISED.odds,
        "tie": QUANTISED.tie,
        "mean": QUANTISED.mean,
    }
    assert len(record["prompts"][0]["problems"]) == 1


@pytest.mark.parametrize("more", [["RUN"], ["--online"]])
def test_conformance_stands_alone(more, capsys) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["doctor", *more, "--conformance", "m"])
    assert leaving.value.code == 2
    assert "stands alone" in capsys.readouterr().err


def test_an_engine_that_shows_no_alternatives_cannot_be_compared(monkeypatch) -> None:
    # The dry run stands for LM Studio, whose API has no log-probabilities.
    holder = SimpleNamespace(start=lambda: None)
    monkeypatch.setattr(running, "hold", lambda *_: nullcontext(holder))
    with pytest.raises(UsageError, match="m: dry_run shows no tokens with their alternatives"):
        running.answers_of(model(engine="dry_run", source="dry"), prompts(), answer_tokens=2)


def test_a_file_to_compare_with_belongs_to_a_model(capsys) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["doctor", "--against", "m.gguf"])
    assert leaving.value.code == 2
    assert "--conformance MODEL" in capsys.readouterr().err
