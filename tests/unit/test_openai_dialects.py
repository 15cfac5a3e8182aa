"""What each server is sent, and which settings are refused because it would leave them out."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from overnight.engines.identity import answer_identity
from overnight.engines.openai.asking import sampling_fields
from overnight.engines.openai.dialects import FACTS
from overnight.engines.sources import with_digest
from overnight.errors import UsageError
from overnight.planning.requests import Request
from overnight.planning.trials import expand_trials
from overnight.prompting.messages import Message
from overnight.runs.opening import config_text
from overnight.spec.engine_openai import Dialect
from overnight.spec.execution import EngineSettings
from overnight.spec.model import ModelSpec
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.reading import validate

Maker = Callable[..., PromptSweepSpec]
SERVED = {
    "name": "served",
    "engine": "openai_compatible",
    "source": "openai:some/model",
    "family": "f",
    "params_billion": 8,
    "quantization": "unknown",
    "context_tokens": 8192,
    "endpoint": {"base_url": "http://localhost:8000/v1", "dialect": "vllm", "api_key_env": "SOME_KEY"},
}
REQUEST = Request(
    custom_id="d|i|control|0.0|0|closed",
    part="p",
    messages=(Message(role="user", content="q"),),
    temperature=0.7,
    top_p=0.9,
    top_k=20,
    max_new_tokens=5,
    seed=11,
    stop=("END",),
    logprobs=True,
)


def served(**endpoint: Any) -> dict[str, Any]:
    return {**SERVED, "endpoint": {**SERVED["endpoint"], **endpoint}}


def sent(dialect: Dialect, **changes: Any) -> dict[str, Any]:
    return sampling_fields(FACTS[dialect], dataclasses.replace(REQUEST, **changes), with_logprobs=True)


@pytest.mark.parametrize("dialect", Dialect)
def test_every_dialect_is_sent_what_was_asked_under_its_own_names(dialect: Dialect) -> None:
    fields = sent(dialect)
    limit = "max_completion_tokens" if dialect is Dialect.OPENAI else "max_tokens"
    expected = {"temperature": 0.7, "top_p": 0.9, "seed": 11, "stop": ["END"], limit: 5}
    assert {name: fields[name] for name in expected} == expected
    assert ("max_tokens" in fields) != (dialect is Dialect.OPENAI)
    assert fields.get("top_k") == (None if dialect is Dialect.OPENAI else 20)
    assert ("logprobs" in fields) == (dialect is not Dialect.LM_STUDIO)


def test_no_limit_is_written_as_each_server_writes_it() -> None:
    # vLLM documents -1 (and, of late, 0); llama.cpp 0.
    assert {dialect: sent(dialect, top_k=0).get("top_k") for dialect in Dialect} == {
        Dialect.OPENAI: None,
        Dialect.FIREWORKS: 0,
        Dialect.VLLM: -1,
        Dialect.LLAMA_SERVER: 0,
        Dialect.LM_STUDIO: 0,
    }


def test_samplers_that_nobody_asked_for_are_off() -> None:
    # Neutral by their definitions: multiplying by 1, adding 0, cutting nothing off below 0 times the best.
    assert (sent(Dialect.VLLM)["min_p"], sent(Dialect.VLLM)["repetition_penalty"]) == (0.0, 1.0)
    assert (sent(Dialect.LLAMA_SERVER)["min_p"], sent(Dialect.LLAMA_SERVER)["repeat_penalty"]) == (0.0, 1.0)
    assert sent(Dialect.LM_STUDIO)["repeat_penalty"] == 1.0
    # Fireworks shortens the answer without a word otherwise.
    assert sent(Dialect.FIREWORKS)["context_length_exceeded_behavior"] == "error"


def test_log_probabilities_are_not_sent_where_they_are_not_wanted() -> None:
    assert "logprobs" not in sent(Dialect.VLLM, logprobs=False)
    assert "logprobs" not in sampling_fields(FACTS[Dialect.VLLM], REQUEST, with_logprobs=False)


def test_an_answer_that_is_looked_into_shows_alternatives_and_reads_its_prompt_itself() -> None:
    fields = sent(Dialect.LLAMA_SERVER, alternatives=5, logprobs=False)
    assert (fields["logprobs"], fields["top_logprobs"], fields["cache_prompt"]) == (True, 5, False)
    assert sent(Dialect.LLAMA_SERVER)["cache_prompt"] is True  # the table is as it was
    assert "top_logprobs" not in sent(Dialect.VLLM)
    assert "logprobs" not in sent(Dialect.LM_STUDIO, alternatives=5)


@pytest.mark.parametrize(
    ("dialect", "settings", "message"),
    [
        ("openai", {"top_k": 50, "temps": [0, 0.7]}, "top_k: 50: dialect openai has no top_k; set it to 0"),
        ("fireworks", {"top_k": 200, "temps": [0.7]}, "top_k: 200: dialect fireworks takes up to 100"),
        ("openai", {"top_k": 0, "temps": [2.5]}, "temps: 2.5: dialect openai takes up to 2"),
    ],
)
def test_a_setting_that_a_server_would_leave_out_is_refused_in_the_plan(
    make_spec: Maker, dialect: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=f"model served: {message}"):
        expand_trials(make_spec(defaults={"model": served(dialect=dialect), **settings}))


def test_more_stop_texts_than_a_server_takes_are_refused(make_spec: Maker) -> None:
    sampling = {"stop": ["a", "b", "c", "d", "e"]}
    with pytest.raises(UsageError, match="5 texts: dialect openai takes up to 4"):
        expand_trials(make_spec(defaults={"model": served(dialect="openai"), "top_k": 0}, sampling=sampling))


def test_a_top_k_that_changes_nothing_is_no_error(make_spec: Maker) -> None:
    # Nothing is sampled at temperature 0, and 50 is everybody's default.
    for settings in ({"temps": [0.0]}, {"temps": [0.7], "top_k": 0}):
        expand_trials(make_spec(defaults={"model": served(dialect="openai"), **settings}))


def test_a_top_k_that_is_too_high_is_lowered_only_where_nothing_is_sampled(make_spec: Maker) -> None:
    expand_trials(make_spec(defaults={"model": served(dialect="fireworks"), "top_k": 200, "temps": [0.0]}))
    assert sent(Dialect.FIREWORKS, temperature=0.0, top_k=200)["top_k"] == 100


def fingerprint(make_spec: Maker, model: dict[str, Any]) -> str:
    (trial,) = expand_trials(make_spec(defaults={"model": model}))
    return trial.fingerprint


@pytest.mark.parametrize(
    "other",
    [
        served(base_url="http://localhost:8001/v1"),
        served(dialect="llama_server"),
        {**SERVED, "source": "openai:some/other-model"},
    ],
)
def test_another_server_model_or_dialect_is_another_trial(make_spec: Maker, other: dict[str, Any]) -> None:
    assert fingerprint(make_spec, SERVED) != fingerprint(make_spec, other)


@pytest.mark.parametrize(
    "same",
    [
        served(base_url="HTTP://LocalHost:8000/v1/"),
        served(api_key_env="ANOTHER_KEY"),
        {**SERVED, "name": "renamed", "context_tokens": 4096},
    ],
)
def test_the_same_server_under_other_words_is_the_same_trial(make_spec: Maker, same: dict[str, Any]) -> None:
    assert fingerprint(make_spec, SERVED) == fingerprint(make_spec, same)


def test_a_served_model_is_the_same_from_its_effective_configuration(make_spec: Maker) -> None:
    spec = make_spec(defaults={"model": SERVED})
    again = PromptSweepSpec.model_validate(yaml.safe_load(config_text(spec)))
    assert expand_trials(again) == expand_trials(spec)


def test_a_served_model_has_an_identity_and_no_digest() -> None:
    model = with_digest(ModelSpec(**SERVED))
    assert model.sha256 is None
    assert model.weights_identity.startswith("served-")  # so that nobody takes it for the digest of weights


def test_answers_of_a_served_model_are_kept_only_where_somebody_asks_for_it() -> None:
    model = ModelSpec(**SERVED)
    assert answer_identity(model, EngineSettings()) is None
    kept = answer_identity(model, EngineSettings(openai={"cache": True}))
    assert (kept["engine"], kept["dialect"]) == ("openai_compatible", "vllm")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({**SERVED, "endpoint": None}, "endpoint: missing"),
        ({**SERVED, "sha256": "a" * 64}, "sha256: a served model shows no digest"),
        (
            {**SERVED, "engine": "ollama", "source": "ollama:llama3"},
            "endpoint: only for engine openai_compatible",
        ),
        (served(dialect="grpc"), "endpoint.dialect"),
        (served(base_url="localhost:8000"), "endpoint.base_url: not an address"),
        (served(base_url="http://x:port/v1"), "endpoint.base_url: not an address"),
        (served(base_url="https://x.org/v1/chat/completions"), "ends with /chat/completions"),
    ],
)
def test_a_wrong_model_file_is_said_in_one_line(value: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        validate(ModelSpec, value, "m.yaml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        {"api_key_env": "sk-Hidden123"},
        {"api_key_env": "fw_hidden123"},
        {"base_url": "https://me:Hidden123@x.org/v1"},
        {"base_url": "https://x.org/v1?api_key=Hidden123"},
        {"api_key": "Hidden123"},
    ],
)
def test_a_key_in_a_model_file_is_refused_without_being_repeated(endpoint: dict[str, str]) -> None:
    with pytest.raises(UsageError) as error:
        validate(ModelSpec, served(**endpoint), "m.yaml")
    assert "hidden123" not in str(error.value).lower()
