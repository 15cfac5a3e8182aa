import json
import os
from pathlib import Path

import pytest

from overnight.checking import model as module
from overnight.checking.model import check_model
from overnight.cli import main
from overnight.engines.protocol import Completion
from overnight.engines.sources import Weights
from overnight.engines.state import EngineState
from overnight.errors import OutOfMemory, StoreError
from overnight.records import FinishReason
from overnight.spec.model import ModelSpec

MODEL = ModelSpec(
    name="tiny",
    source="pypi:tiny==1#tiny.gguf",
    sha256="0" * 64,
    family="tiny",
    params_billion=0.1,
    quantization="Q4_1",
    context_tokens=256,
)


class Holder:
    """Holds nothing, and says what happened to it."""

    def __init__(self, log: list[str], error: Exception | None) -> None:
        self.log, self.error = log, error
        self.state = EngineState(status="serving", pid=os.getpid(), context_tokens=256)

    def start(self) -> None:
        self.log.append("start")
        if self.error:
            raise self.error

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.log.append("let go")


class Engine:
    def __init__(self, log: list[str], completion: Completion) -> None:
        self.log, self.completion = log, completion

    async def complete(self, request) -> Completion:
        self.log.append("asked")
        assert request.logprobs
        return self.completion

    async def close(self) -> None:
        self.log.append("closed")


@pytest.fixture
def held(monkeypatch):
    """Return a function that puts doubles in the place of an engine, and the log of what they did."""
    log: list[str] = []

    def held(
        *,
        text: str = "Earth",
        logprobs: tuple[float, ...] | None = (-0.5, -1.5),
        error: Exception | None = None,
    ):
        completion = Completion(
            text=text,
            finish_reason=FinishReason.STOP,
            prompt_tokens=9,
            cached_tokens=0,
            completion_tokens=2,
            token_logprobs=logprobs,
            latency_s=0.1,
            sent={},
        )
        monkeypatch.setattr(
            module, "fetch", lambda spec: Weights(Path("tiny.gguf"), "0" * 64, was_cached=True)
        )
        monkeypatch.setattr(module, "hold", lambda *_: Holder(log, error))
        monkeypatch.setattr(module, "connect", lambda *_: Engine(log, completion))
        return log

    return held


def test_a_model_that_answers_is_good_and_is_let_go(held) -> None:
    log = held()
    found = check_model(MODEL)
    assert found.is_good
    assert [stage.name for stage in found.stages] == ["source", "weights", "load", "answer", "release"]
    assert log == ["start", "asked", "closed", "let go"]
    assert "mean log-probability -1.000" in str(found.stages[3].found)
    assert found.peak is not None  # of this process, which stands for the engine's
    assert found.peak.host_bytes


def test_a_model_that_cannot_be_held_ends_the_check_and_is_let_go(held) -> None:
    log = held(error=OutOfMemory("does not fit"))
    found = check_model(MODEL)
    assert not found.is_good
    assert found.stages[-1].name == "load"
    assert found.stages[-1].failed_because == "does not fit"
    assert log == ["start", "let go"]


@pytest.mark.parametrize(
    ("given", "said"), [({"logprobs": None}, "without log-probabilities"), ({"text": " "}, "answer is empty")]
)
def test_an_answer_that_cannot_be_used_fails_the_check(held, given, said: str) -> None:
    log = held(**given)
    found = check_model(MODEL)
    assert said in str(found.stages[-1].failed_because)
    assert log[-1] == "let go"
    assert found.peak is not None


def test_weights_with_another_digest_end_the_check_before_anything_is_loaded(held, monkeypatch) -> None:
    log = held()

    def damaged(spec: ModelSpec) -> Weights:
        raise StoreError("has sha256 1, 0 is pinned")

    monkeypatch.setattr(module, "fetch", damaged)
    found = check_model(MODEL)
    assert found.stages[-1].failed_because == "has sha256 1, 0 is pinned"
    assert log == []


def run(*argv: str) -> int:
    with pytest.raises(SystemExit) as leaving:
        main(["check", "model", *argv])
    assert isinstance(leaving.value.code, int)
    return leaving.value.code


def test_the_command_leaves_with_0_1_or_2(held, capsys) -> None:
    name = "smollm2-135m-instruct-q4_1"
    held()
    assert run(name) == 0
    said = capsys.readouterr().out
    assert f"{name} can be used" in said
    assert "memory: " in said
    assert run(name, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["answer"]["mean_logprob"] == -1.0
    assert record["peak_bytes"]["host"] > 0
    held(error=OutOfMemory("does not fit"))
    assert run(name) == 1
    assert "load: FAILED: does not fit" in capsys.readouterr().out
    assert run("no-such-model") == 2
