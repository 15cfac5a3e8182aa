"""The transformers host, with a real model: what it is asked is what it does, and memory that ends is no end."""

import asyncio
import contextlib
import dataclasses
import os
import resource
import signal
import sys

import httpx
import psutil
import pytest

from overnight.engines.host import EngineHost, HostSettings
from overnight.engines.transformers.client import TransformersEngine
from overnight.errors import ContextOverflow, EngineCrashed, EngineUnavailable, OutOfMemory
from overnight.planning.requests import Request
from overnight.prompting.messages import Message
from overnight.records import FinishReason

OPTIONS = {
    "dtype": "float32",
    "bits": None,
    "trust_remote_code": False,
    "device": "cpu",
    "attention": None,
    "batch_tokens": None,
    "batch_invariant": False,
}

SOON = (" ", "e", "\n", "a", "i", "o")  # an answer ends with its first tokens, whatever room was asked for


@pytest.fixture(scope="module")
def host(dequantised_weights, tmp_path_factory):
    settings = HostSettings(
        module="overnight.engines.transformers.host",
        model_path=dequantised_weights,
        slots=64,
        context_tokens=8192,
        threads=1,
        options=OPTIONS,
        startup_timeout_s=120,
    )
    with EngineHost(settings, tmp_path_factory.mktemp("engines"), "smollm2") as host:
        host.start()
        yield host


def _request(question: str = "What is the capital of France?", **changes) -> Request:
    request = Request(
        custom_id="d|i|control|0.0|0|closed",
        part="d_p01",
        messages=(
            Message(role="system", content="Be brief."),
            Message(role="user", content=question),
        ),
        temperature=0.0,
        top_p=1.0,
        top_k=50,
        max_new_tokens=12,
        seed=7,
        stop=(),
    )
    return dataclasses.replace(request, **changes)


def _ask(host: EngineHost, *requests: Request):
    async def ask():
        async with _engine(host) as engine:
            return await asyncio.gather(*(engine.complete(request) for request in requests))

    return asyncio.run(ask())


@contextlib.asynccontextmanager
async def _engine(host: EngineHost):
    engine = TransformersEngine(host.state_path, timeout_s=60, startup_timeout_s=90)
    try:
        yield engine
    finally:
        await engine.close()


def _health(host: EngineHost):
    token = {"Authorization": f"Bearer {host.state.token}"}
    return httpx.get(f"{host.state.url}/health", headers=token, timeout=10).json()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited by prlimit")
def test_a_batch_that_does_not_fit_is_halved_and_one_row_that_does_not_is_out_of_memory(host) -> None:
    # The first test of its host: what the C library keeps of earlier answers would be room beyond the limit.
    pid = host.state.pid
    requests = [_request(f"{n} " + "elephant " * 80, max_new_tokens=600, stop=SOON) for n in range(8)]
    # A row has room for 800 tokens of 30 layers x 2 x 3 heads x 64 numbers of 4 bytes: 37 MB; eight of them 295 MB.
    with _only(pid, 130 * 2**20):
        answers = _ask(host, *requests)
    health = _health(host)
    assert health["halvings"] >= 1
    assert health["batch_tokens"] < 8 * 600  # later batches are not tried in vain
    # 8000 tokens take 369 MB, which no smaller batch can help.
    with _only(pid, 8 * 2**20), pytest.raises(OutOfMemory, match=r"a single prompt of \d+ tokens"):
        _ask(host, _request(max_new_tokens=8000, stop=SOON))
    free = _ask(host, *requests)
    assert [answer.text for answer in answers] == [answer.text for answer in free]  # whole, and the same
    assert [answer.completion_tokens for answer in answers] == [answer.completion_tokens for answer in free]
    assert "Paris" in _ask(host, _request())[0].text
    assert (host.state.pid, host.state.restarts) == (pid, 0)  # all of it without losing the model


def test_requests_that_come_together_are_one_batch_and_each_gets_its_own_answer(host) -> None:
    before = _health(host)
    paris, four, cut, stopped, sea, other_sea = _ask(
        host,
        _request(logprobs=True),
        _request("Repeat: “naïve café” ☕ \x07 \u2028 🦊"),
        _request("Count from one to fifty.", max_new_tokens=4),
        _request(stop=("Paris",)),
        *(_request("Write a line about the sea.", temperature=1.0, seed=seed) for seed in (1, 2)),
    )
    assert "Paris" in paris.text
    assert paris.finish_reason is FinishReason.STOP
    assert len(paris.token_logprobs) == paris.completion_tokens <= 12
    assert paris.prompt_tokens == 24  # as llama.cpp counts the same messages
    assert all(value <= 0 for value in paris.token_logprobs)
    assert isinstance(four.text, str)
    assert four.token_logprobs is None
    assert (cut.finish_reason, cut.completion_tokens) == (FinishReason.LENGTH, 4)
    assert stopped.finish_reason is FinishReason.STOP
    assert paris.text.startswith(stopped.text)
    assert "Paris" not in stopped.text
    assert sea.text != other_sea.text
    after = _health(host)
    assert after["rows"] - before["rows"] == 6
    assert after["batches"] - before["batches"] <= 2  # a batch may begin with what came first
    assert paris.sent["samplers"] == ["top_k", "top_p", "temperature"]
    assert paris.sent["template"] == "chat"


def test_a_prompt_that_does_not_fit_is_refused_before_it_is_sent(host) -> None:
    before = _health(host)
    with pytest.raises(ContextOverflow, match=r"context holds 8192.*execution\.engine\.context_tokens"):
        _ask(host, _request("word " * 300, max_new_tokens=8000))
    assert _health(host)["rows"] == before["rows"]
    # 360 bytes fit by the engine's count though not by the bound of a byte a token.
    (completion,) = _ask(host, _request("elephant " * 40, max_new_tokens=8000, stop=SOON))
    assert completion.prompt_tokens < 192


def test_the_host_listens_on_loopback_only_and_wants_its_token(host) -> None:
    assert host.state.url.startswith("http://127.0.0.1:")
    answer = httpx.post(f"{host.state.url}/complete", json={"messages": []}, timeout=10)
    assert answer.status_code == 401
    wrong = {"Authorization": "Bearer wrong"}
    assert httpx.post(f"{host.state.url}/count", json={}, headers=wrong, timeout=10).status_code == 401


def test_an_answer_that_nobody_waits_for_is_not_computed_to_its_end(host) -> None:
    async def ask():
        async with _engine(host) as engine:
            long = asyncio.create_task(engine.complete(_request("Tell a long story.", max_new_tokens=900)))
            await asyncio.sleep(1)
            long.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await long
            # 900 tokens take longer than this; the host has one thread that computes.
            return await asyncio.wait_for(engine.complete(_request()), 15)

    assert "Paris" in asyncio.run(ask()).text


def test_a_killed_host_is_restarted_and_the_engine_recovers(host) -> None:
    pid = host.state.pid

    async def ask() -> str:
        async with _engine(host) as engine:
            waiting = asyncio.create_task(engine.complete(_request("Tell a story.", max_new_tokens=400)))
            await asyncio.sleep(0.5)
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(EngineUnavailable):
                await waiting
            await engine.recover()
            return (await engine.complete(_request())).text

    assert "Paris" in asyncio.run(ask())
    assert host.state.pid != pid
    assert (host.state.loads, host.state.restarts) == (2, 1)


def test_what_cannot_be_loaded_is_one_clear_line(host, tmp_path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    settings = dataclasses.replace(host.settings, model_path=tmp_path)
    with (
        EngineHost(settings, tmp_path, "broken") as broken,
        pytest.raises(EngineCrashed, match=r"could not be loaded: OSError: .*safetensors"),
    ):
        broken.start()


@contextlib.contextmanager
def _only(pid: int, n_bytes: int):
    """Let a process have no more than some bytes beyond what it has: an allocation after that fails for real."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (psutil.Process(pid).memory_info().vms + n_bytes, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_AS, (hard, hard))
