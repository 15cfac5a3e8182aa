"""Measuring one candidate: the model held as it says, asked for a while, and let go."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from overnight.engines.dispatch import DispatchPolicy, dispatch
from overnight.engines.holding import connect, hold
from overnight.errors import EngineError, OutOfMemory
from overnight.memory.comparable import comparable_estimate
from overnight.memory.estimate import MemoryEstimate
from overnight.memory.processes import MemoryWatch
from overnight.planning.requests import Request
from overnight.records import FinishReason
from overnight.spec.execution import Execution
from overnight.spec.model import ModelSpec
from overnight.store.files import scratch_folder
from overnight.store.journal import Journal, Row, is_done, read_rows
from overnight.tuning.candidates import Candidate
from overnight.tuning.race import Outcome, Status, stretches

_WARM_UP = 4  # requests, or as many as are answered at once where that is more; at most _MOST_WARM_UP
_MOST_WARM_UP = 16
_JOURNAL = "answers.jsonl"


class _Answers:
    """What came back, and when."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self.arrivals: list[tuple[float, int]] = []
        self.n_truncated = 0
        self.error: str | None = None

    def add(self, rows: list[Row]) -> None:
        done = [row for row in rows if is_done(row)]
        self.n_truncated += sum(row["finish_reason"] == FinishReason.LENGTH for row in done)
        if done:
            self.arrivals.append((time.perf_counter() - self._began, len(done)))
        for row in rows:
            if not is_done(row) and self.error is None:
                self.error = row["error"]["message"]


def measure(
    candidate: Candidate,
    model: ModelSpec,
    weights: Path | None,
    requests: Sequence[Request],
    execution: Execution,
    *,
    seconds: float,
) -> tuple[Outcome, MemoryEstimate | None]:
    """Hold a model as a candidate says, ask it, and return how fast it answered and what it held.

    Beside it comes what was computed for the same settings, where its peak can be compared with that.

    Memory that does not suffice is a result, and so is an engine that fails: neither ends the others' turn.

    Args:
        candidate: how to hold it.
        model: resolved.
        weights: its file or folder; None where a server has them.
        requests: asked in this order, as many as there is time for; the last of them warm it up.
        execution: what the candidate does not say.
        seconds: of asking, after the load and the warm-up; answers under way at its end are waited for.
    """
    held = candidate.carried_out(execution)
    at_once = held.requests_at_once(model.engine)
    n_warm_up = min(max(_WARM_UP, at_once), _MOST_WARM_UP)
    untried = Outcome(candidate=candidate, status=Status.FAILED)
    try:
        with (
            scratch_folder("tune") as scratch,
            hold(model, weights, candidate.context_tokens, held, scratch) as holder,
        ):
            holder.start()
            pid = holder.state.pid
            with MemoryWatch(pid) if pid is not None else nullcontext() as watch:
                ask = _asker(model, held, scratch, at_once)
                ask(requests[-n_warm_up:], None)
                answers = ask(requests[:-n_warm_up], seconds)
            load_s = holder.state.load_s
            estimate = comparable_estimate(
                model, at_once, candidate.context_tokens, held, read_rows(scratch / _JOURNAL)
            )
    except OutOfMemory as error:
        return replace(untried, status=Status.TOO_LARGE, why=str(error)), None
    except EngineError as error:
        return replace(untried, why=str(error)), None
    if answers.error is not None:
        return replace(untried, why=answers.error), None
    speed = stretches(answers.arrivals)
    if speed is None:
        return replace(untried, status=Status.NOT_REACHED, why="no answer came in its time"), None
    outcome = Outcome(
        candidate=candidate,
        status=Status.MEASURED,
        speed=speed,
        n_truncated=answers.n_truncated,
        peak=watch.peak if watch is not None else None,
        load_s=load_s,
    )
    return outcome, estimate


def _asker(
    model: ModelSpec, execution: Execution, folder: Path, at_once: int
) -> Callable[[Sequence[Request], float | None], _Answers]:
    policy = DispatchPolicy(concurrency=at_once, attempts_per_item=1, max_engine_restarts=0)

    async def asked(requests: Sequence[Request], seconds: float | None) -> _Answers:
        engine = connect(model, execution, folder)
        with Journal(folder / _JOURNAL) as journal:
            answers = _Answers()
            until = None if seconds is None else time.perf_counter() + seconds
            try:
                await dispatch(
                    requests,
                    engine,
                    journal,
                    policy=policy,
                    row_fields={"model": model.name, "model_digest": model.sha256},
                    should_stop=lambda: until is not None and time.perf_counter() >= until,
                    on_answered=answers.add,
                )
            finally:
                await engine.close()
        return answers

    return lambda requests, seconds: asyncio.run(asked(requests, seconds))
