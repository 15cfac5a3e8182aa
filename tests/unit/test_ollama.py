"""What of the Ollama engine needs no server: names, versions, bodies, counts, and what errors mean."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from overnight.engines.ollama import server
from overnight.engines.ollama.asking import (
    chat_body,
    completion,
    fewest_tokens,
    load_body,
    most_tokens,
    stop_strings,
)
from overnight.engines.ollama.connection import Answer
from overnight.engines.ollama.failures import meaning
from overnight.engines.ollama.server import ServerVersion, is_here, is_same, parse_version, shown, tag_of
from overnight.errors import (
    BadResponse,
    ContextOverflow,
    EngineUnavailable,
    ModelNotFound,
    OutOfMemory,
    RateLimited,
)
from overnight.planning.requests import Request
from overnight.prompting.messages import Message
from overnight.spec.engine_ollama import OllamaSettings
from overnight.spec.execution import EngineSettings, Execution
from overnight.spec.model import EngineKind

NEW = ServerVersion(0, 34, 2)


def _request(**changes) -> Request:
    request = Request(
        custom_id="d|i|control|0.0|0|closed",
        part="d_p01",
        messages=(Message(role="system", content="Be brief."), Message(role="user", content="Who are you?")),
        temperature=0.0,
        top_p=1.0,
        top_k=50,
        max_new_tokens=16,
        seed=7,
        stop=(),
    )
    return dataclasses.replace(request, **changes)


def _body(request: Request, version: ServerVersion = NEW, settings: EngineSettings | None = None, **changes):
    facts = {"context_tokens": 256, "is_thinking": False, "model_stops": ()} | changes
    return chat_body(request, "m:latest", settings or EngineSettings(), version=version, **facts)


def _answer(**changes) -> Answer:
    fields = {
        "message": {"role": "assistant", "content": "I am."},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 30,
        "eval_count": 3,
        "prompt_eval_duration": 1_500_000_000,
        "eval_duration": 250_000_000,
    }
    return Answer.model_validate(fields | changes)


# As the server writes them (server/sched.go, llm/server.go, llm/llama_server.go, server/routes.go), and as issues
# quote them.
@pytest.mark.parametrize(
    ("status", "message", "wanted"),
    [
        (404, "model 'qwen3:8b' not found", ModelNotFound),
        (500, 'model "qwen3:8b" not found, try pulling it first', ModelNotFound),
        (-1, "pull model manifest: file does not exist", ModelNotFound),
        (500, "model requires more system memory (8.4 GiB) than is available (7.7 GiB)", OutOfMemory),
        (500, "llama runner process has terminated: cudaMalloc failed: out of memory", OutOfMemory),
        (500, "llama runner process has terminated: exit status 2", OutOfMemory),
        (500, "llama runner process has terminated: signal: killed", OutOfMemory),
        (
            500,
            "llama-server process has terminated: exit status 1: cudaMalloc failed: out of memory\n"
            "error loading model: unable to allocate CUDA0 buffer",
            OutOfMemory,
        ),
        (
            500,
            "llama runner process has terminated: error loading model: unknown model architecture: 'x'",
            BadResponse,
        ),
        (503, "server busy, please try again.  maximum pending requests exceeded", RateLimited),
        (502, "bad gateway", EngineUnavailable),
        (
            500,
            "model runner has unexpectedly stopped, this may be due to resource limitations",
            EngineUnavailable,
        ),
        (
            500,
            'POST predict: Post "http://127.0.0.1:38477/completion": EOF, connection reset',
            EngineUnavailable,
        ),
        (400, "the input length exceeds the context length", ContextOverflow),
        (
            400,
            "the prompt is longer than the context length currently available to the model",
            ContextOverflow,
        ),
        (
            400,
            json.dumps({"error": {"code": 400, "message": "…", "type": "exceed_context_size_error"}}),
            ContextOverflow,
        ),
        (400, '"all-minilm" does not support chat', BadResponse),
        (401, "unauthorized", BadResponse),
    ],
)
def test_an_error_means_what_can_be_done_about_it(status, message, wanted) -> None:
    found = meaning(message, status, "qwen3:8b", is_loading=False)
    assert type(found) is wanted
    assert "\n" not in str(found)


def test_a_process_that_died_while_it_loaded_says_something_about_memory() -> None:
    # Ollama's own words for it; once the model is loaded it is no sign that it does not fit.
    said = (
        "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error"
    )
    assert type(meaning(said, 500, "qwen3:8b", is_loading=True)) is OutOfMemory
    assert type(meaning(said, 500, "qwen3:8b", is_loading=False)) is EngineUnavailable


def test_a_missing_model_comes_with_the_command_that_gets_it() -> None:
    found = meaning("model 'qwen3:8b' not found", 404, "qwen3:8b", is_loading=True)
    assert str(found).endswith("ollama pull qwen3:8b")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0.12.11", (0, 12, 11)), ("0.13.0-rc1", (0, 13, 0)), ("v0.5.7-0-ga420a45-dirty", (0, 5, 7))],
)
def test_a_version_is_read_whatever_is_behind_its_numbers(text, numbers) -> None:
    assert parse_version(text) == numbers


def test_versions_tell_what_a_server_can_do() -> None:
    # 0.12.11 brought logprobs; in 0.30 the counts left out what was cached (ollama/ollama#16428).
    assert not parse_version("0.12.10").has_logprobs
    assert parse_version("0.12.11").has_logprobs
    assert [parse_version(v).counts_whole_prompts for v in ("0.29.9", "0.30.1", "0.31.0")] == [
        True,
        False,
        True,
    ]
    assert not parse_version("0.2.8").is_supported
    # What a build from source calls itself.
    assert parse_version("0.0.0").is_supported
    assert parse_version("0.0.0").has_logprobs
    with pytest.raises(ValueError, match="version"):
        parse_version("unknown")


@pytest.mark.parametrize(
    ("name", "tag", "same"),
    [
        ("qwen3:latest", "qwen3:latest", True),
        ("qwen3", "qwen3:latest", True),
        ("Qwen3:8B", "qwen3:8b", True),
        ("registry.ollama.ai/library/qwen3:8b", "qwen3:8b", True),
        ("hf.co/owner/repo:Q4_K_M", "hf.co/owner/repo:q4_k_m", True),
        ("localhost:5000/owner/repo", "localhost:5000/owner/repo:latest", True),
        ("qwen3:8b", "qwen3:14b", False),
        ("owner/qwen3:8b", "qwen3:8b", False),
        (None, "qwen3:8b", False),
    ],
)
def test_a_model_is_found_under_every_name_that_the_server_gives_it(name, tag, same) -> None:
    assert is_same(name, tag) is same


def test_a_source_without_a_tag_is_latest() -> None:
    assert tag_of("ollama:qwen3") == "qwen3:latest"
    assert tag_of("ollama:hf.co/owner/repo:Q4_K_M") == "hf.co/owner/repo:Q4_K_M"


def test_the_server_is_where_the_config_or_the_environment_says(monkeypatch) -> None:
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    assert server.address(OllamaSettings()) == "http://127.0.0.1:11434"
    monkeypatch.setenv("OLLAMA_HOST", "0.0.0.0:8000")
    assert server.address(OllamaSettings()) == "0.0.0.0:8000"
    assert server.address(OllamaSettings(host="gpu1:11434")) == "gpu1:11434"
    assert is_here("0.0.0.0:8000")
    assert is_here("http://[::1]:11434")
    assert not is_here("gpu1:11434")
    assert shown("https://me:secret@gpu1/ollama") == "https://gpu1/ollama"


@pytest.mark.parametrize("value", ["30m", "1h30m", "-1m", 600, -1, "1.5h"])
def test_keep_alive_is_what_the_server_understands(value) -> None:
    assert OllamaSettings(keep_alive=value).keep_alive == value


@pytest.mark.parametrize(
    ("value", "says"), [("30", "30m"), ("soon", "30m"), (0, "loaded anew"), ("0s", "loaded anew")]
)
def test_a_keep_alive_that_it_does_not_is_refused(value, says) -> None:
    with pytest.raises(ValidationError, match=says):
        OllamaSettings(keep_alive=value)


def test_credentials_do_not_belong_into_a_config_file() -> None:
    with pytest.raises(ValidationError, match="OLLAMA_HOST"):
        OllamaSettings(host="https://me:secret@gpu1")


def test_as_many_requests_are_sent_as_the_server_answers_at_once() -> None:
    settings = EngineSettings(ollama=OllamaSettings(parallel=7))
    assert Execution(engine=settings).requests_at_once(EngineKind.OLLAMA) == 7
    assert Execution(engine=settings).requests_at_once(EngineKind.LLAMA_CPP) == 4
    assert Execution(engine=settings, max_concurrent_requests=2).requests_at_once(EngineKind.OLLAMA) == 2


def test_a_request_asks_for_the_model_as_it_was_loaded() -> None:
    # Any other option of loading, or another `shift`, makes the server load the model again.
    settings = EngineSettings(threads=3, gpu_layers=0)
    load, chat = load_body("m:latest", settings, 256), _body(_request(), settings=settings)
    assert load["options"] == {"num_ctx": 256, "num_thread": 3, "num_gpu": 0}
    assert load["options"].items() <= chat["options"].items()
    assert (load["shift"], load["truncate"]) == (chat["shift"], chat["truncate"]) == (False, False)
    assert load["messages"] == []


def test_stop_strings_of_a_request_come_on_top_of_those_of_the_modelfile() -> None:
    # Sent, they would replace them, and the model would run past the end of its turn.
    stops = stop_strings('num_ctx    4096\nstop     "<|im_end|>"\nstop    "a \\"b\\" "\nstop  bare')
    assert stops == ("<|im_end|>", 'a "b" ', "bare")
    assert "stop" not in _body(_request(), model_stops=stops)["options"]
    assert _body(_request(stop=("END",)), model_stops=stops)["options"]["stop"] == ["END", *stops]


def test_logprobs_are_asked_for_only_where_the_server_has_them() -> None:
    asks = _request(logprobs=True)
    assert _body(asks)["logprobs"] is True
    assert "logprobs" not in _body(asks, ServerVersion(0, 12, 10))
    assert "logprobs" not in _body(_request())


def test_durations_are_seconds() -> None:
    request = _request()
    found = completion(_answer(), request, _body(request), NEW, 2.0)
    assert (found.prefill_s, found.decode_s) == (1.5, 0.25)


def test_counts_that_are_not_there_are_none_and_durations_too() -> None:
    request = _request()
    found = completion(
        _answer(prompt_eval_duration=None, eval_duration=None), request, _body(request), NEW, 2.0
    )
    assert (found.prefill_s, found.decode_s, found.cached_tokens) == (None, None, None)


def test_an_answer_that_is_not_one_is_refused() -> None:
    request = _request()
    for changes in (
        {"done": False},
        {"done_reason": "load"},
        {"done_reason": None},
        {"eval_count": None},
        {"prompt_eval_count": None},
    ):
        with pytest.raises(BadResponse):
            completion(_answer(**changes), request, _body(request), NEW, 2.0)


def test_an_empty_answer_has_no_tokens_and_is_no_error() -> None:
    request = _request(logprobs=True)
    empty = _answer(message={"role": "assistant", "content": ""}, eval_count=0)
    found = completion(empty, request, _body(request), NEW, 2.0)
    assert (found.text, found.token_logprobs, found.mean_logprob) == ("", (), None)


def test_confidences_of_thoughts_are_not_those_of_an_answer() -> None:
    # gpt-oss thinks whatever it is told.
    request = _request(logprobs=True)
    logprobs = [{"token": "x", "logprob": -0.5}] * 3
    plain = completion(_answer(logprobs=logprobs), request, _body(request), NEW, 2.0)
    assert plain.token_logprobs == (-0.5, -0.5, -0.5)
    thought = _answer(logprobs=logprobs, message={"role": "assistant", "content": "I am.", "thinking": "Hm."})
    assert completion(thought, request, _body(request), NEW, 2.0).token_logprobs is None


def test_a_count_above_the_room_or_below_the_words_is_no_answer_to_the_question() -> None:
    # 256 tokens of context, 16 of them for the answer; five words.
    request = _request()
    for counted in (241, 256, 4):
        with pytest.raises(ContextOverflow):
            completion(_answer(prompt_eval_count=counted), request, _body(request), NEW, 2.0)
    for counted in (5, 240):
        completion(_answer(prompt_eval_count=counted), request, _body(request), NEW, 2.0)
    # Four new tokens beside others from the cache are no sign of anything.
    cached = ServerVersion(0, 30, 0)
    assert (
        completion(_answer(prompt_eval_count=4), request, _body(request), cached, 2.0).prompt_tokens is None
    )


@given(st.text(max_size=200))
def test_the_bounds_of_a_prompt_enclose_what_a_tokeniser_of_bytes_or_of_words_would_count(text: str) -> None:
    request = _request(messages=(Message(role="user", content=text),))
    n_bytes, n_words = len(text.encode("utf-8", "replace")), len(text.split())
    assert fewest_tokens(request) <= n_words <= n_bytes <= most_tokens(request)
