"""How an engine takes part in the contract suite (``test_contract.py``), and what its tests ask.

To add an engine, add one function here (nothing else, and nothing in the suite):

    @takes_part("name")
    @contextlib.contextmanager
    def name(weights: Path, folder: Path) -> Iterator[Subject]:
        with <whatever holds the model of `weights`, its state file in `folder`>:
            yield Subject(connect=lambda: <the engine's client>, kill=...)

``weights`` is the GGUF file of SmolLM2-135M-Instruct; the model is loaded once for the whole suite, with a context of
``CONTEXT_TOKENS`` a request and two requests at a time. ``kill`` takes away, without a word, the process that holds the
model, where that process is ours and comes back by itself; it is None where the server is somebody else's. What only
one engine does is tested in that engine's own file. The suite is to take less than 20 seconds an engine.

Whatever is imported to hold a model is imported inside the function.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from overnight.engines.host import EngineHost, HostSettings
from overnight.engines.protocol import Completion, Engine
from overnight.planning.requests import Request
from overnight.prompting.messages import Message

CONTEXT_TOKENS = 512


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An engine under test, its model loaded."""

    connect: Callable[[], Engine]
    kill: Callable[[], None] | None = None
    gives_logprobs: bool = True


Holding = Callable[[Path, Path], AbstractContextManager[Subject]]
ENGINES: dict[str, Holding] = {}


def takes_part(name: str) -> Callable[[Holding], Holding]:
    def add(holding: Holding) -> Holding:
        ENGINES[name] = holding
        return holding

    return add


@takes_part("llama_cpp")
@contextlib.contextmanager
def llama_cpp(weights: Path, folder: Path) -> Iterator[Subject]:
    from overnight.engines.llama_cpp import LlamaCppEngine

    with llama_cpp_host(weights, folder) as host:
        yield Subject(
            connect=lambda: LlamaCppEngine(host.state_path, timeout_s=120, startup_timeout_s=60),
            kill=lambda: os.kill(host.state.pid, signal.SIGKILL),
        )


@takes_part("transformers")
@contextlib.contextmanager
def transformers(weights: Path, folder: Path) -> Iterator[Subject]:
    from overnight.engines.holding import connect, hold
    from overnight.engines.sources import fetch
    from overnight.spec.execution import Execution
    from overnight.spec.model import ModelSpec

    model = ModelSpec(
        name="smollm2",
        engine="transformers",
        source=str(weights),
        family="smollm2",
        params_billion=0.135,
        quantization="Q4_1",
        context_tokens=8192,
    )
    # Dequantised once a machine, beside the file that it is made of.
    held = fetch(model, weights.parents[2]).path
    execution = Execution(request_timeout_s=120)
    with hold(model, held, CONTEXT_TOKENS, execution, folder) as holder:
        holder.start()
        yield Subject(
            connect=lambda: connect(model, execution, folder),
            kill=lambda: os.kill(holder.state.pid, signal.SIGKILL),
        )


@takes_part("openai_compatible")
@contextlib.contextmanager
def openai_compatible(weights: Path, folder: Path) -> Iterator[Subject]:
    from overnight.engines.openai.client import OpenAIEngine
    from overnight.engines.openai.holder import ServedElsewhere
    from overnight.spec.engine_openai import OpenAISettings

    with llama_cpp_host(weights, folder / "server") as server, pytest.MonkeyPatch.context() as environment:
        environment.setenv("CONTRACT_KEY", server.state.token)
        model = served_model(f"{server.state.url}/v1", str(weights), api_key_env="CONTRACT_KEY")
        with ServedElsewhere(model, folder, slots=2, startup_timeout_s=60) as holder:
            holder.start()
            yield Subject(
                connect=lambda: OpenAIEngine(
                    holder.state_path,
                    model,
                    settings=OpenAISettings(),
                    concurrency=8,
                    timeout_s=120,
                    startup_timeout_s=60,
                )
            )


@takes_part("ollama")
@contextlib.contextmanager
def ollama(weights: Path, folder: Path) -> Iterator[Subject]:
    from overnight.engines.holding import connect, hold
    from overnight.spec.execution import Execution
    from overnight.spec.model import ModelSpec
    from tests.engines.ollama_models import Models, Tag
    from tests.engines.ollama_server import OllamaServer

    tag = Tag(name="smollm2:135m")
    model = ModelSpec(
        name="smollm2",
        engine="ollama",
        source=f"ollama:{tag.name}",
        sha256=tag.digest,
        family="smollm2",
        params_billion=0.135,
        quantization="Q4_1",
        context_tokens=8192,
    )
    with llama_cpp_host(weights, folder / "server") as host, OllamaServer(host.state, Models(tag)) as server:
        execution = Execution(engine={"ollama": {"host": server.url}}, request_timeout_s=120)
        with hold(model, None, CONTEXT_TOKENS, execution, folder) as holder:
            holder.start()
            yield Subject(connect=lambda: connect(model, execution, folder))


def served_model(base_url: str, served_name: str, *, dialect: str = "llama_server", **endpoint):
    from overnight.spec.model import ModelSpec

    return ModelSpec(
        name="smollm2-served",
        engine="openai_compatible",
        source=f"openai:{served_name}",
        family="smollm2",
        params_billion=0.135,
        quantization="Q4_1",
        context_tokens=8192,
        endpoint={"base_url": base_url, "dialect": dialect, **endpoint},
    )


@contextlib.contextmanager
def llama_cpp_host(weights: Path, folder: Path) -> Iterator[EngineHost]:
    settings = HostSettings(
        module="overnight.engines.llama_cpp_host",
        model_path=weights,
        slots=2,
        context_tokens=CONTEXT_TOKENS,
        threads=1,  # several of them would only wait for each other on a machine that does something else as well
        options={"gpu_layers": 0, "batch_invariant": None},
        startup_timeout_s=120,
    )
    with EngineHost(settings, folder, "smollm2") as host:
        host.start()
        yield host


def question(text: str = "What is the capital of France?", **changes) -> Request:
    """Return a greedy request of at most 16 tokens."""
    request = Request(
        custom_id="d|i|control|0.0|0|closed",
        part="d_p01",
        messages=(Message(role="system", content="Be brief."), Message(role="user", content=text)),
        temperature=0.0,
        top_p=1.0,
        top_k=50,
        max_new_tokens=16,
        seed=7,
        stop=(),
    )
    return replace(request, **changes)


def ask(subject: Subject, *requests: Request) -> list[Completion]:
    """Return the answers to requests that were all sent at once."""

    async def gather() -> list[Completion]:
        async with connected(subject) as engine:
            return await asyncio.gather(*(engine.complete(request) for request in requests))

    return asyncio.run(gather())


@contextlib.asynccontextmanager
async def connected(subject: Subject):
    engine = subject.connect()
    try:
        yield engine
    finally:
        await engine.close()
