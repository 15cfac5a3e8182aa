"""Asking two engines the same: one holds the model, answers and lets it go; then the other."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from overnight.conformance.comparing import Agreement, compare
from overnight.conformance.pairing import Pair
from overnight.conformance.prompts import prompts
from overnight.conformance.tolerance import FLOAT, QUANTISED, Tolerance
from overnight.engines.alternatives import ALTERNATIVES
from overnight.engines.holding import connect, hold
from overnight.engines.protocol import Completion, Engine
from overnight.engines.sources import fetch, with_digest
from overnight.errors import UsageError
from overnight.memory.facts import read_facts
from overnight.planning.requests import Request
from overnight.prompting.messages import Message
from overnight.spec.execution import EngineSettings, Execution
from overnight.spec.model import EngineKind, ModelSpec
from overnight.store.files import scratch_folder

ANSWER_TOKENS = 32
_CONTEXT_TOKENS = 1024
_AT_ONCE = 2
_PLAIN_TYPES = {"F32", "F16"}  # what llama.cpp multiplies without rounding activations to 8 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What one engine answered."""

    answers: dict[str, Completion]  # by the name of the prompt
    is_plain: bool  # it computes with 16 bits or more, keys and values aside


def check_conformance(
    pair: Pair,
    *,
    asked: Mapping[str, tuple[Message, ...]] | None = None,
    answer_tokens: int = ANSWER_TOKENS,
    threads: int | None = None,
    on_stage: Callable[[str], None] = lambda _: None,
) -> Agreement:
    """Ask both engines of a pair the same, one after the other, and compare what they say.

    Args:
        pair: a model held twice.
        asked: messages by the name of the prompt; None for ours.
        answer_tokens: the longest answer.
        threads: of the engines; None for the physical cores.
        on_stage: told what begins.

    Raises:
        EngineError: an engine cannot hold the model, or does not answer.
        UsageError: a model's source is not what it says it is.
    """
    said = prompts() if asked is None else asked
    given = []
    for model in (pair.first, pair.second):
        on_stage(f"{model.engine.value} holds {model.name} and answers {len(said)} prompts")
        given.append(answers_of(model, said, answer_tokens=answer_tokens, threads=threads))
    first, second = given
    return agreement(first, second)


def answers_of(
    model: ModelSpec,
    asked: Mapping[str, tuple[Message, ...]],
    *,
    answer_tokens: int,
    threads: int | None = None,
) -> Given:
    """Hold a model, ask it, and let it go.

    Args:
        model: and the engine that holds it.
        asked: messages by the name of the prompt.
        answer_tokens: the longest answer.
        threads: of the engine; None for the physical cores.

    Raises:
        EngineError: it cannot be held, or does not answer.
        UsageError: its source is not what it says it is, or the engine shows no alternatives.
    """
    execution = Execution(max_concurrent_requests=_AT_ONCE, engine=EngineSettings(threads=threads))
    requests = {name: _request(name, said, answer_tokens) for name, said in asked.items()}
    known = with_digest(model, execution.engine)
    path = fetch(known).path if known.engine.has_weights_here else None
    with (
        scratch_folder("conformance") as folder,
        hold(known, path, _CONTEXT_TOKENS, execution, folder) as holder,
    ):
        holder.start()
        answers = asyncio.run(_ask_all(connect(known, execution, folder), requests))
    if any(answer.text and answer.steps is None for answer in answers.values()):
        raise UsageError(
            f"model {model.name}: {model.engine.value} shows no tokens with their alternatives, so there is nothing "
            "to compare; a newer server may show them"
        )
    return Given(answers=answers, is_plain=_is_plain(known, path))


def agreement(first: Given, second: Given, tolerance: Tolerance | None = None) -> Agreement:
    """Return how the answers of two engines to the same prompts agree.

    Args:
        first: of one engine.
        second: of the other, to the same prompts.
        tolerance: None for the one that is due to what both compute with.
    """
    compared = tuple(compare(name, answer, second.answers[name]) for name, answer in first.answers.items())
    due = FLOAT if first.is_plain and second.is_plain else QUANTISED
    return Agreement(compared=compared, tolerance=tolerance or due)


def _is_plain(model: ModelSpec, path: Path | None) -> bool:
    if model.engine is EngineKind.TRANSFORMERS:
        return model.held_in_bits is None and model.compute_dtype != "bfloat16"
    if path is None:
        return True  # a server: what it is compared with says how it is stored
    return all(tensor.stored_as in _PLAIN_TYPES for tensor in read_facts(path).tensors)


async def _ask_all(engine: Engine, requests: Mapping[str, Request]) -> dict[str, Completion]:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def ask(request: Request) -> Completion:
        async with turns:
            return await engine.complete(request)

    try:
        given = await asyncio.gather(*(ask(request) for request in requests.values()))
    finally:
        await engine.close()
    return dict(zip(requests, given, strict=True))


def _request(name: str, said: tuple[Message, ...], answer_tokens: int) -> Request:
    return Request(
        custom_id=name,
        part="conformance",
        messages=said,
        temperature=0.0,
        top_p=1.0,
        top_k=0,
        max_new_tokens=answer_tokens,
        seed=0,
        stop=(),
        logprobs=True,
        alternatives=ALTERNATIVES,
    )
