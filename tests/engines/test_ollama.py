"""The Ollama engine against a stand-in that speaks its API and answers with the real llama.cpp engine."""

import asyncio
import dataclasses
import os
from pathlib import Path

import ollama
import pytest

from overnight.engines import holding
from overnight.engines.host import EngineHost, HostSettings
from overnight.engines.identity import answer_identity
from overnight.engines.llama_cpp import LlamaCppEngine
from overnight.engines.ollama import holder as holder_module
from overnight.engines.ollama import placement
from overnight.engines.placement import Placement
from overnight.engines.protocol import Completion
from overnight.engines.sources import with_digest
from overnight.engines.state import read_state
from overnight.errors import (
    BadResponse,
    ContextOverflow,
    EngineCrashed,
    EngineUnavailable,
    ModelNotFound,
    OutOfMemory,
    RateLimited,
    UsageError,
)
from overnight.planning.requests import Request
from overnight.prompting.messages import Message
from overnight.records import FinishReason
from overnight.spec.engine_ollama import OllamaSettings
from overnight.spec.execution import EngineSettings, Execution
from overnight.spec.model import EngineKind, ModelSpec
from tests.engines.ollama_models import Models, Refused, Tag
from tests.engines.ollama_server import OllamaServer

# What somebody may have written into a Modelfile; none of it may change an answer of ours.
ODD = Tag(
    name="smollm2:135m",
    parameters={"repeat_penalty": 1.9, "min_p": 0.4, "top_k": 3, "num_predict": 2, "stop": ["<|im_end|>"]},
)
CONTEXT = 160


@pytest.fixture(scope="module")
def llama(weights, tmp_path_factory):
    settings = HostSettings(
        module="overnight.engines.llama_cpp_host",
        model_path=weights,
        slots=2,
        context_tokens=512,  # more than any test asks for: what fits is for the stand-in to say
        threads=1,
        options={"gpu_layers": 0, "batch_invariant": None},
        startup_timeout_s=120,
    )
    with EngineHost(settings, tmp_path_factory.mktemp("engines"), "smollm2") as host:
        host.start()
        yield host


@pytest.fixture
def server(llama):
    with OllamaServer(llama.state, Models(ODD, Tag(name="somebody:elses"))) as server:
        yield server


def _model(tag: Tag = ODD, **changes) -> ModelSpec:
    fields = {
        "name": "smollm2",
        "engine": EngineKind.OLLAMA,
        "source": f"ollama:{tag.name}",
        "sha256": tag.digest,
        "family": "smollm2",
        "params_billion": 0.135,
        "quantization": "Q4_1",
        "context_tokens": 8192,
    }
    return ModelSpec.model_validate(fields | changes)


def _execution(server: OllamaServer, *, cpu_offload: str = "refuse", **changes) -> Execution:
    settings = {"ollama": {"host": server.url} | changes, "startup_timeout_s": 5, "cpu_offload": cpu_offload}
    return Execution(engine=EngineSettings.model_validate(settings), request_timeout_s=60)


def _request(question: str = "What is the capital of France?", **changes) -> Request:
    request = Request(
        custom_id="d|i|control|0.0|0|closed",
        part="d_p01",
        messages=(Message(role="system", content="Be brief."), Message(role="user", content=question)),
        temperature=0.0,
        top_p=1.0,
        top_k=50,
        max_new_tokens=16,
        seed=7,
        stop=(),
        logprobs=True,
    )
    return dataclasses.replace(request, **changes)


def _hold(server: OllamaServer, folder: Path, model: ModelSpec | None = None, **changes):
    return holding.hold(model or _model(), None, CONTEXT, _execution(server, **changes), folder)


def _asked(server: OllamaServer, folder: Path, *requests: Request, **changes) -> list[Completion]:
    """Return the answers to requests that are asked at once, while the model is held."""

    async def ask():
        engine = holding.connect(_model(), _execution(server, **changes), folder)
        try:
            return await asyncio.gather(*(engine.complete(request) for request in requests))
        finally:
            await engine.close()

    with _hold(server, folder, **changes) as holder:
        holder.start()
        return asyncio.run(ask())


def test_it_answers_counts_its_tokens_and_says_how_long_it_took(server, tmp_path) -> None:
    (completion,) = _asked(server, tmp_path, _request())
    assert "Paris" in completion.text
    assert completion.finish_reason is FinishReason.STOP
    assert completion.prompt_tokens > 10
    assert 0 < completion.completion_tokens <= 16
    assert 0 < completion.prefill_s < completion.latency_s
    assert 0 < completion.decode_s < completion.latency_s


@pytest.mark.parametrize("version", ["0.12.11", "0.34.2"])
def test_the_same_weights_answer_as_embedded_whatever_the_modelfile_says(
    server, llama, tmp_path, version
) -> None:
    # The embedded engine has every other sampler off. With Ollama's own penalty of 1.1, or this Modelfile's, the
    # second sentence would be another one; its limit of two tokens would end the answer.
    server.version = version
    request = _request("Write two sentences about the sea.", max_new_tokens=24)

    async def embedded():
        engine = LlamaCppEngine(llama.state_path, timeout_s=60, startup_timeout_s=60)
        try:
            return await engine.complete(request)
        finally:
            await engine.close()

    wanted = asyncio.run(embedded())
    (found,) = _asked(server, tmp_path, request)
    assert found.text == wanted.text
    assert (found.prompt_tokens, found.completion_tokens) == (wanted.prompt_tokens, wanted.completion_tokens)
    n = len(wanted.text.split())  # the token that ends an answer is in one of the two lists only
    assert found.token_logprobs[:n] == pytest.approx(wanted.token_logprobs[:n], abs=1e-5)


def test_a_confidence_is_the_models_own_whatever_it_was_sampled_at(server, tmp_path) -> None:
    cold, warm = _asked(server, tmp_path, *(_request(temperature=t, seed=3) for t in (0.0, 0.2)))
    assert cold.text == warm.text
    assert cold.mean_logprob == pytest.approx(warm.mean_logprob, abs=1e-5)


def test_what_is_sent_says_everything_that_the_server_would_decide_otherwise(server, tmp_path) -> None:
    request = _request(temperature=0.7, top_p=0.9, top_k=20, seed=11, stop=("END",))
    (completion,) = _asked(server, tmp_path, request, keep_alive="7m")
    body = server.chats[-2]  # the last one unloads
    assert body["options"] == {
        "num_ctx": CONTEXT,
        "seed": 11,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 20,
        "num_predict": 16,
        "stop": ["END", "<|im_end|>"],  # a request's stop strings replace those of the Modelfile
        "min_p": 0.0,
        "typical_p": 1.0,
        "repeat_penalty": 1.0,
        "repeat_last_n": 0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }
    rest = {name: value for name, value in body.items() if name not in ("messages", "options")}
    assert rest == {
        "model": "smollm2:135m",
        "stream": False,
        "keep_alive": "7m",
        "truncate": False,
        "shift": False,
        "logprobs": True,
    }
    assert completion.sent == {name: value for name, value in body.items() if name != "messages"}


def test_a_model_that_thinks_is_told_not_to(server, tmp_path) -> None:
    # Ollama turns thinking on for such a model where the request says nothing of it, and refuses the word for others.
    server.models.tags[ODD.name] = tag = dataclasses.replace(ODD, capabilities=("completion", "thinking"))
    with _hold(server, tmp_path, _model(tag)) as holder:
        holder.start()
        _ask(server, tmp_path, _request())
    assert server.chats[1]["think"] is False


@pytest.mark.parametrize("version", ["0.12.11", "0.34.2"])
def test_the_model_is_loaded_once_for_all_requests(server, tmp_path, version) -> None:
    # Another context means that Ollama loads the model again, and from 0.30 on so does another `shift`.
    server.version = version
    _asked(server, tmp_path, *(_request(seed=seed) for seed in range(3)))
    assert server.models.n_loads == 1


def test_the_same_seed_draws_the_same_and_another_seed_draws_another(server, tmp_path) -> None:
    question = "Write a line about the sea."
    requests = [_request(question, temperature=1.0, seed=seed, max_new_tokens=8) for seed in (1, 1, 2)]
    first, again, other = (each.text for each in _asked(server, tmp_path, *requests))
    assert first == again
    assert first != other


def test_a_cut_off_answer_and_a_stop_string_say_so(server, tmp_path) -> None:
    cut, stopped = _asked(
        server, tmp_path, _request("Count from one to fifty.", max_new_tokens=4), _request(stop=("Paris",))
    )
    assert (cut.finish_reason, cut.completion_tokens) == (FinishReason.LENGTH, 4)
    assert stopped.finish_reason is FinishReason.STOP
    assert "Paris" not in stopped.text


def test_a_server_without_logprobs_is_named_once_and_nothing_takes_their_place(
    server, tmp_path, caplog
) -> None:
    server.version = "0.12.10"
    completions = _asked(server, tmp_path, _request(), _request(seed=8))
    assert [each.token_logprobs for each in completions] == [None, None]
    assert "logprobs" not in server.chats[1]
    said = [record.message for record in caplog.records if "log-probabilities" in record.message]
    assert len(said) == 1
    assert "Ollama 0.12.10 sends no log-probabilities of the answers (0.12.11 and later do)" in said[0]


def test_what_the_cache_gave_is_counted_where_the_server_tells_it(server, tmp_path) -> None:
    first, again = (_asked(server, tmp_path, _request())[0] for _ in range(2))
    assert again.prompt_tokens == first.prompt_tokens
    assert 0 < again.cached_tokens < again.prompt_tokens
    server.version = "0.30.2"  # counts the new part only, and does not say how much is missing
    (unknown,) = _asked(server, tmp_path, _request())
    assert (unknown.prompt_tokens, unknown.cached_tokens) == (None, None)
    assert unknown.text == first.text


# 0.11 cuts to the context, 0.12 and 0.34 refuse as they are told; 0.30 counts too little to find out by.
@pytest.mark.parametrize(
    ("version", "n_long"), [("0.11.4", 40), ("0.12.11", 40), ("0.30.2", 40), ("0.34.2", 40), ("0.34.2", 28)]
)
def test_a_prompt_that_does_not_fit_is_never_answered_in_part(server, tmp_path, version, n_long) -> None:
    # About four tokens a word: our own bounds settle neither. 28 words fit the context, but not with the answer.
    server.version = version
    request = _request("antidisestablishmentarianism " * n_long, max_new_tokens=40)
    assert n_long < CONTEXT - 40
    with pytest.raises(ContextOverflow, match=r"execution\.engine\.context_tokens"):
        _asked(server, tmp_path, request)


def test_a_prompt_of_more_words_than_room_is_not_sent(server, tmp_path) -> None:
    with pytest.raises(ContextOverflow, match=r"at least 602 tokens .* context holds 160"):
        _asked(server, tmp_path, _request("word " * 600))
    assert [body["messages"] for body in server.chats] == [[], []]  # loaded and unloaded


def test_a_template_that_leaves_a_part_of_the_prompt_out_is_found_by_its_count(
    server, tmp_path, monkeypatch
) -> None:
    # As a template does that has no place for a system prompt.
    monkeypatch.setattr(server, "_tokens", lambda turns, tokens=server._tokens: tokens(turns[1:]))
    system = Message(role="system", content="Be brief. " * 30)
    with pytest.raises(ContextOverflow, match="template leaves a part of it out"):
        _asked(server, tmp_path, _request(messages=(system, Message(role="user", content="Hello"))))


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        (None, EngineUnavailable),
        (Refused(503, "server busy, please try again.  maximum pending requests exceeded"), RateLimited),
        (Refused(500, "cudaMalloc failed: out of memory"), OutOfMemory),
        (Refused(500, "model runner has unexpectedly stopped"), EngineUnavailable),
        (Refused(404, "model 'smollm2:135m' not found"), ModelNotFound),
        (Refused(500, "something else"), BadResponse),
    ],
)
def test_an_error_of_the_server_says_what_it_means(server, tmp_path, fault, wanted) -> None:
    server.faults.append(fault)
    with pytest.raises(wanted):
        _asked(server, tmp_path, _request())


def test_a_broken_connection_is_recovered_from(server, tmp_path) -> None:
    async def ask() -> str:
        engine = holding.connect(_model(), _execution(server), tmp_path)
        server.faults.append(None)
        with pytest.raises(EngineUnavailable):
            await engine.complete(_request())
        server.models.unload(ODD.name)  # the server was started anew
        await engine.recover()
        completion = await engine.complete(_request())
        await engine.close()
        return completion.text

    with _hold(server, tmp_path) as holder:
        holder.start()
        assert "Paris" in asyncio.run(ask())
    assert server.models.n_loads == 2


def test_a_server_that_stays_away_is_given_up(server, tmp_path) -> None:
    gone = _execution(server).model_copy(
        update={
            "engine": EngineSettings(ollama=OllamaSettings(host="http://127.0.0.1:9"), startup_timeout_s=0.5)
        }
    )

    async def ask() -> None:
        engine = holding.connect(_model(), gone, tmp_path)
        with pytest.raises(EngineUnavailable, match="ollama serve"):
            await engine.complete(_request())
        with pytest.raises(EngineCrashed, match="did not come back"):
            await engine.recover()
        await engine.close()

    with _hold(server, tmp_path) as holder:
        holder.start()
        asyncio.run(ask())


def test_a_cancelled_request_leaves_the_client_usable(server, tmp_path) -> None:
    async def ask() -> str:
        engine = holding.connect(_model(), _execution(server), tmp_path)
        task = asyncio.create_task(engine.complete(_request("Count to fifty.", max_new_tokens=60)))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        completion = await engine.complete(_request())
        await engine.close()
        return completion.text

    with _hold(server, tmp_path) as holder:
        holder.start()
        assert "Paris" in asyncio.run(ask())


def test_while_a_model_is_held_it_is_loaded_as_asked_and_then_surely_unloaded(server, tmp_path) -> None:
    other = server.models.load(server.models.tags["somebody:elses"], {}, "1h", shift=True)
    with _hold(server, tmp_path) as holder:
        holder.start()
        assert {name: each.num_ctx for name, each in server.models.loaded.items()} == {
            "somebody:elses": other.num_ctx,
            ODD.name: CONTEXT,
        }
        state = read_state(holder.state_path)
        assert (state.status, state.url, state.token) == ("serving", server.url, None)
        assert (state.context_tokens, state.slots, state.loads) == (CONTEXT, 4, 1)
    assert list(server.models.loaded) == ["somebody:elses"]
    assert not holder.state_path.exists()


def test_credentials_in_the_servers_address_reach_no_file(server, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", server.url.replace("//", "//me:secret@"))
    with holding.hold(_model(), None, CONTEXT, Execution(), tmp_path) as holder:
        holder.start()
        assert "secret" not in holder.state_path.read_text()


def test_a_model_that_is_not_there_names_the_command_that_gets_it(server, tmp_path) -> None:
    model = _model(source="ollama:qwen3", sha256=None)
    with (
        _hold(server, tmp_path, model) as holder,
        pytest.raises(ModelNotFound, match="ollama pull qwen3:latest"),
    ):
        holder.start()
    assert server.chats == []  # nothing was loaded, so nothing is unloaded


def test_a_model_is_pulled_where_that_was_asked_for(server, tmp_path, caplog) -> None:
    caplog.set_level("INFO")
    server.models.pullable["qwen3:latest"] = tag = Tag(name="qwen3:latest")
    with _hold(server, tmp_path, _model(tag, source="ollama:qwen3"), pull=True) as holder:
        holder.start()
        assert "qwen3:latest" in server.models.loaded
    assert "ollama pull qwen3:latest: pulling manifest" in caplog.text


def test_a_pull_of_what_nobody_has_is_a_clear_error(server, tmp_path) -> None:
    with (
        _hold(server, tmp_path, _model(source="ollama:nobody"), pull=True) as holder,
        pytest.raises(ModelNotFound, match="file does not exist"),
    ):
        holder.start()


def test_a_tag_that_changed_since_the_plan_is_refused(server, tmp_path) -> None:
    with (
        _hold(server, tmp_path, _model(sha256="a" * 64)) as holder,
        pytest.raises(ModelNotFound, match=r"planned with aaaa.*plan a new run"),
    ):
        holder.start()


def test_a_model_that_does_not_fit_says_what_else_is_loaded(server, tmp_path) -> None:
    server.models.load(server.models.tags["somebody:elses"], {}, "1h", shift=True)
    server.models.load_failure = "model requires more system memory (8.4 GiB) than is available (7.7 GiB)"
    with (
        _hold(server, tmp_path) as holder,
        pytest.raises(OutOfMemory, match=r"8\.4 GiB.*also holds somebody:elses \(0\.1 GiB\)"),
    ):
        holder.start()
    assert holder.state.error_kind == "OutOfMemory"


def test_a_part_outside_the_gpu_is_refused_unless_it_is_wanted(server, tmp_path) -> None:
    server.models.on_gpu = 0.6
    with _hold(server, tmp_path) as holder, pytest.raises(OutOfMemory, match="cpu_offload: allow"):
        holder.start()
    assert server.models.loaded == {}  # refused, and given back
    with _hold(server, tmp_path, cpu_offload="allow") as holder:
        holder.start()
        assert Placement.from_row(holder.state.placement).is_split  # and is said so
        assert holder.state.status == "serving"


def test_a_model_that_was_moved_off_the_gpu_meanwhile_is_named_at_the_end(server, tmp_path, caplog) -> None:
    # Somebody else's model took its place, and Ollama loaded ours again beside it.
    server.models.on_gpu = 1.0
    with _hold(server, tmp_path) as holder:
        holder.start()
        server.models.on_gpu = 0.5
        server.models.load(ODD, {"num_ctx": CONTEXT}, "30m", shift=False)
    assert "moved a part of the model" in caplog.text
    assert server.models.loaded == {}


def test_nothing_on_a_gpu_is_an_offload_only_where_there_is_one(server, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(placement, "_has_gpu", lambda: False)
    with _hold(server, tmp_path) as holder:
        holder.start()
    server.models.on_gpu = 1.0
    server.models.load(server.models.tags["somebody:elses"], {}, "1h", shift=True)
    server.models.on_gpu = 0.0
    with _hold(server, tmp_path) as holder, pytest.raises(OutOfMemory):
        holder.start()
    server.models.unload("somebody:elses")
    monkeypatch.setattr(placement, "_has_gpu", lambda: True)
    with _hold(server, tmp_path) as holder, pytest.raises(OutOfMemory):
        holder.start()


def test_less_context_than_was_asked_for_is_refused(server, tmp_path) -> None:
    # Ollama lowers it to what the model was trained for, and says so in its own log only.
    server.models.tags[ODD.name] = tag = dataclasses.replace(ODD, train_context=128)
    with (
        _hold(server, tmp_path, _model(tag)) as holder,
        pytest.raises(ContextOverflow, match="128 tokens of context, 160 are wanted"),
    ):
        holder.start()


def test_a_model_that_stays_loaded_is_a_warning_within_a_time_limit(
    server, tmp_path, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(holder_module, "_UNLOADED_WITHIN_S", 0.3)
    server.models.never_unloads = True
    with _hold(server, tmp_path) as holder:
        holder.start()
    assert "still holds it" in caplog.text


def test_no_server_and_one_that_is_too_old_are_named(server, tmp_path) -> None:
    server.version = "0.2.8"
    with _hold(server, tmp_path) as holder, pytest.raises(BadResponse, match=r"0\.2\.8 .* 0\.3\.0 or later"):
        holder.start()
    with (
        _hold(server, tmp_path, host="http://127.0.0.1:9") as holder,
        pytest.raises(EngineUnavailable, match="ollama serve"),
    ):
        holder.start()


def test_planning_fills_in_the_digest_that_the_tag_has(server, monkeypatch) -> None:
    settings = _execution(server).engine
    assert with_digest(_model(sha256=None), settings).sha256 == ODD.digest
    monkeypatch.setenv("OLLAMA_HOST", server.url)
    assert with_digest(_model(sha256=None)).sha256 == ODD.digest


def test_planning_says_what_to_do_where_there_is_no_digest(server) -> None:
    settings = _execution(server).engine
    absent = _model(source="ollama:qwen3", sha256=None)
    with pytest.raises(UsageError, match=r"model smollm2: .* ollama pull qwen3:latest"):
        with_digest(absent, settings)
    with pytest.raises(UsageError, match="the config says bbbb"):
        with_digest(_model(sha256="b" * 64), settings)
    with pytest.raises(UsageError, match="ollama serve"):
        with_digest(absent, EngineSettings(ollama=OllamaSettings(host="127.0.0.1:9")))
    # Pinned and to be pulled: compared when it is there.
    pinned = absent.model_copy(update={"sha256": "c" * 64})
    assert with_digest(pinned, _execution(server, pull=True).engine) == pinned


def test_answers_of_another_version_of_the_server_do_not_stand_for_each_other(server) -> None:
    settings = _execution(server).engine
    found = answer_identity(_model(), settings)
    assert found["library"] == "ollama 0.34.2"
    server.version = "0.34.1"
    assert answer_identity(_model(), settings) != found
    gone = EngineSettings(ollama=OllamaSettings(host="127.0.0.1:9"))
    assert answer_identity(_model(), gone) is None


def test_the_stand_in_speaks_with_the_official_client(server) -> None:
    # What the tests above rest on: its other endpoints, streams and errors are what Ollama's own client understands.
    with ollama.Client(server.url) as client:
        steps = client.create("short", from_=ODD.name, parameters={"num_predict": 3}, stream=True)
        assert [step.status for step in steps][-1] == "success"
        assert "num_predict" in client.show("short").parameters
        lines = list(client.chat("short", [{"role": "user", "content": "Hello"}], stream=True, logprobs=True))
        assert [line.done for line in lines][-1]
        assert lines[-1].done_reason == "length"
        assert all(line.logprobs for line in lines[:-1])
        assert client.generate("short", "Hello").eval_count == 3
        assert client.generate("short", keep_alive=0).done_reason in ("load", "unload")
        assert client.ps().models == []
        with pytest.raises(ollama.ResponseError, match="not found") as error:
            client.show("nobody")
        assert error.value.status_code == 404


def _ask(server: OllamaServer, folder: Path, request: Request) -> Completion:
    async def ask() -> Completion:
        engine = holding.connect(_model(), _execution(server), folder)
        try:
            return await engine.complete(request)
        finally:
            await engine.close()

    return asyncio.run(ask())


@pytest.mark.ollama
def test_a_real_server_loads_answers_and_unloads(tmp_path) -> None:
    tag = os.environ.get("OVERNIGHT_TEST_OLLAMA")
    if tag is None:
        pytest.skip("no model to ask; name a tag that the server has in OVERNIGHT_TEST_OLLAMA")
    execution = Execution(engine=EngineSettings(cpu_offload="allow"))
    model = with_digest(_model(source=f"ollama:{tag}", sha256=None), execution.engine)

    async def ask() -> list[Completion]:
        engine = holding.connect(model, execution, tmp_path)
        try:
            with pytest.raises(ContextOverflow):
                await engine.complete(_request("antidisestablishmentarianism " * 60))
            requests = [_request(), _request(), _request(max_new_tokens=3), _request(stop=("Paris",))]
            return [await engine.complete(request) for request in requests]
        finally:
            await engine.close()

    with holding.hold(model, None, CONTEXT, execution, tmp_path) as holder:
        holder.start()
        first, again, cut, stopped = asyncio.run(ask())
        names = [each.model for each in ollama.ps().models]
        assert any(tag in name for name in names)
    assert first.text == again.text
    assert first.mean_logprob < 0
    assert cut.finish_reason is FinishReason.LENGTH
    assert "Paris" not in stopped.text
    assert not any(tag in each.model for each in ollama.ps().models)
