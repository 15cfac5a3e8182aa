"""Whether a model can be used: its weights are what they should be, it is held, answers, and gives its memory back."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from overnight.checking.stages import Stage, StageFailed, Stages
from overnight.engines.alternatives import ALTERNATIVES
from overnight.engines.holding import Holder, connect, hold
from overnight.engines.placement import Placement
from overnight.engines.protocol import Completion, Engine
from overnight.engines.sources import fetch, with_digest
from overnight.errors import BadResponse
from overnight.memory.processes import MeasuredPeak, MemoryWatch
from overnight.planning.requests import Request
from overnight.prompting.messages import Message
from overnight.spec.execution import EngineSettings, Execution
from overnight.spec.model import ModelSpec
from overnight.store.files import scratch_folder

QUESTION = "Which planet do we live on? Answer in one word."
_ANSWER_TOKENS = 16
_CONTEXT_TOKENS = 512
_DIGEST_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCheck:
    """What was found, as far as it came."""

    model: ModelSpec
    stages: tuple[Stage, ...]
    peak: MeasuredPeak | None  # of the process that held it; None where somebody else's did
    answer: Completion | None

    @property
    def is_good(self) -> bool:
        """True where every step ended well."""
        return all(stage.failed_because is None for stage in self.stages)


def check_model(
    model: ModelSpec, *, threads: int | None = None, on_stage: Callable[[str], None] = lambda _: None
) -> ModelCheck:
    """Look at a model's source, hold it, ask it one thing, and let it go.

    Args:
        model: as the configuration has it; it is downloaded where it is not here.
        threads: of the engine; None for the physical cores.
        on_stage: told what begins.
    """
    stages = Stages(on_stage)
    seen = _Seen()
    with contextlib.suppress(StageFailed), scratch_folder("check") as scratch:
        _go_through(model, scratch, threads, stages, seen)
    return ModelCheck(model=model, stages=tuple(stages.done), peak=seen.peak, answer=seen.answer)


@dataclass(slots=True)
class _Seen:
    """What a check that ends early has seen all the same."""

    peak: MeasuredPeak | None = None
    answer: Completion | None = None


def _go_through(model: ModelSpec, folder: Path, threads: int | None, stages: Stages, seen: _Seen) -> None:
    execution = Execution(max_concurrent_requests=1, engine=EngineSettings(threads=threads))
    known = stages.run("source", lambda: with_digest(model, execution.engine), _source)
    path = None
    if known.engine.has_weights_here:
        path = stages.run("weights", lambda: fetch(known), lambda weights: str(weights.path)).path
    context_tokens = min(_CONTEXT_TOKENS, known.context_tokens)
    with contextlib.ExitStack() as stack:
        holder = stack.enter_context(hold(known, path, context_tokens, execution, folder))
        stages.run("load", holder.start, lambda _: _held(holder))
        pid = holder.state.pid
        with MemoryWatch(pid) if pid else contextlib.nullcontext() as watch:

            def ask() -> Completion:
                seen.answer = asyncio.run(_ask(connect(known, execution, folder)))
                return seen.answer

            try:
                stages.run("answer", ask, _answered)
            finally:
                if watch is not None:
                    watch.look()
                    seen.peak = watch.peak
        stages.run("release", stack.close, lambda _: "it was let go")


async def _ask(engine: Engine) -> Completion:
    request = Request(
        custom_id="check",
        part="check",
        messages=(Message(role="user", content=QUESTION),),
        temperature=0.0,
        top_p=1.0,
        top_k=0,
        max_new_tokens=_ANSWER_TOKENS,
        seed=0,
        stop=(),
        logprobs=True,
        alternatives=ALTERNATIVES,
    )
    try:
        return await engine.complete(request)
    finally:
        await engine.close()


def _source(model: ModelSpec) -> str:
    if model.sha256 is None:
        return f"{model.source_label}; nobody shows a digest of it"
    return f"{model.source_label}, sha256 {model.sha256[:_DIGEST_SHOWN]}"


def _held(holder: Holder) -> str:
    placement = holder.state.placement
    where = "" if placement is None else f" {Placement.from_row(placement).label}"
    return f"held{where}, {holder.state.context_tokens} tokens of context"


def _answered(answer: Completion) -> str:
    """Return what the answer was.

    Raises:
        BadResponse: it is empty, or has no log-probabilities.
    """
    if not answer.text.strip():
        raise BadResponse("the answer is empty; is this a model that answers questions?")
    if answer.mean_logprob is None:
        raise BadResponse(
            f"it answered {ascii(answer.text.strip())[:60]}, without log-probabilities: a prompt sweep can use it, an "
            "uncertainty sweep cannot"
        )
    return f"{answer.text.strip()!r}, {answer.completion_tokens} tokens, mean log-probability {answer.mean_logprob:.3f}"
