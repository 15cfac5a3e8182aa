"""The embedded engine, with the real model: what it promises beyond the contract, and that it is gone at its end."""

import asyncio
import dataclasses
import os
import signal
import time

import httpx
import psutil
import pytest

from overnight.engines.host import EngineHost
from overnight.engines.llama_cpp import LlamaCppEngine
from overnight.errors import ContextOverflow, EngineCrashed, EngineUnavailable
from overnight.planning.requests import Request
from overnight.prompting.messages import Message


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
        max_new_tokens=16,
        seed=7,
        stop=(),
    )
    return dataclasses.replace(request, **changes)


def _ask(host: EngineHost, *requests: Request):
    async def ask():
        engine = LlamaCppEngine(host.state_path, timeout_s=60, startup_timeout_s=60)
        try:
            return await asyncio.gather(*(engine.complete(request) for request in requests))
        finally:
            await engine.close()

    return asyncio.run(ask())


def test_what_was_sent_is_the_request_with_every_other_sampler_off(host) -> None:
    request = _request(temperature=0.7, top_p=0.9, top_k=20, seed=11, stop=("END",))
    (completion,) = _ask(host, request)
    asked = {"temperature": 0.7, "top_p": 0.9, "top_k": 20, "max_tokens": 16, "seed": 11, "stop": ["END"]}
    assert {key: completion.sent[key] for key in asked} == asked
    # llama.cpp's own default for min_p is .05, which would cut the distribution that was asked for.
    assert completion.sent["min_p"] == 0.0


def test_an_answer_does_not_depend_on_its_neighbours_or_on_the_prefix_cache(host) -> None:
    if _has_gpu():
        pytest.skip("on a GPU llama.cpp has no kernels that keep this")
    requests = [
        _request(f"Write a line about the number {n} and the sea.", temperature=0.8, seed=n) for n in range(6)
    ]
    alone = [_ask(host, request)[0].text for request in requests]
    together = [completion.text for completion in _ask(host, *requests)]
    backwards = [completion.text for completion in _ask(host, *requests[::-1])][::-1]
    assert together == alone
    assert backwards == alone


def test_a_new_system_prompt_is_evaluated_in_one_slot_and_is_in_all_of_them(host) -> None:
    # Left alone, each of the two slots would evaluate it; what a copy answers is what the original answers.
    system = Message(role="system", content="Answer the question with one word, as a dictionary would. " * 8)
    requests = [
        _request(
            f"What is {n} and {n}?", messages=(system, Message(role="user", content=f"What is {n} and {n}?"))
        )
        for n in range(2, 6)
    ]
    alone = [_ask(host, dataclasses.replace(request, alternatives=1))[0].text for request in requests]
    completions = _ask(host, *requests)
    for completion in completions:
        assert completion.prompt_tokens - completion.cached_tokens < 20  # of about 100
    assert [completion.text for completion in completions] == alone
    assert list(host.state_path.parent.glob(".beginning*")) == []


def test_a_prompt_that_does_not_fit_is_refused_before_it_is_sent(host) -> None:
    with pytest.raises(ContextOverflow, match=r"context holds 512.*execution\.engine\.context_tokens"):
        _ask(host, _request("word " * 600))


def test_the_host_listens_on_loopback_only_and_wants_its_token(host) -> None:
    assert host.state.url.startswith("http://127.0.0.1:")
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
    answer = httpx.post(f"{host.state.url}/v1/chat/completions", json=body, timeout=30)
    assert answer.status_code == 401
    assert host.state_path.stat().st_mode & 0o077 == 0  # the file holds the token


def test_a_killed_host_is_restarted_and_the_engine_recovers(host) -> None:
    pid = host.state.pid

    async def ask() -> str:
        engine = LlamaCppEngine(host.state_path, timeout_s=60, startup_timeout_s=60)
        await engine.complete(_request())
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(EngineUnavailable):
            await _ask_until_it_fails(engine)
        await engine.recover()
        completion = await engine.complete(_request())
        await engine.close()
        return completion.text

    assert "Paris" in asyncio.run(ask())
    assert host.state.pid != pid
    assert (host.state.loads, host.state.restarts) == (2, 1)


def test_the_process_is_gone_when_the_block_ends(weights, tmp_path, host) -> None:
    process = psutil.Process(host.state.pid)
    host.__exit__(None, None, None)
    assert not process.is_running()
    assert not host.state_path.exists()


def test_a_file_that_is_no_model_is_a_clear_error(weights, tmp_path, host) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    settings = dataclasses.replace(host.settings, model_path=broken)
    with (
        EngineHost(settings, tmp_path, "broken") as other,
        pytest.raises(EngineCrashed, match=r"broken\.gguf"),
    ):
        other.start()


def test_the_host_leaves_when_whoever_started_it_is_killed(weights, tmp_path) -> None:
    import subprocess
    import sys

    code = f"""
import pathlib, time
from overnight.engines.host import EngineHost, HostSettings
settings = HostSettings(module="overnight.engines.llama_cpp_host", model_path=pathlib.Path({str(weights)!r}),
                        slots=1, context_tokens=256, threads=1, startup_timeout_s=120,
                        options={{"gpu_layers": 0, "batch_invariant": None}})
host = EngineHost(settings, pathlib.Path({str(tmp_path)!r}), "orphan")
host.start()
print(host.state.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


async def _ask_until_it_fails(engine: LlamaCppEngine) -> None:
    while True:
        await engine.complete(_request())


def _has_gpu() -> bool:
    import xllamacpp

    return any("GPU" in str(device["type"]) for device in xllamacpp.get_device_info())
