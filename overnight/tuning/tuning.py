"""Tuning a model on this machine: candidates that fit are measured in turn, the best of them again, within a time."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from overnight.engines.sources import fetch
from overnight.memory.estimate import MemoryEstimate, Place
from overnight.memory.fitting import model_fit
from overnight.memory.free import FreeMemory, free_memory
from overnight.memory.peaks import note_peak
from overnight.spec.execution import Execution
from overnight.spec.model import EngineKind, ModelSpec
from overnight.telemetry.cores import read_cores
from overnight.telemetry.environment import machine_identity
from overnight.tuning.candidates import Candidate, Cores, candidates
from overnight.tuning.measuring import measure
from overnight.tuning.prompts import Questions, questions
from overnight.tuning.race import Outcome, Status, fastest, finalists

_LOG = logging.getLogger(__name__)
FIRST_ROUND = 0.6  # of the time; the rest tells those apart that are close
_LEAST_S = 1.0  # of asking: less measures nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What was tried of a model, and what is chosen."""

    model: ModelSpec
    outcomes: tuple[Outcome, ...]  # in the order of the candidates
    machine: dict[str, Any]
    at: datetime
    seconds: float  # that it took, without fetching the weights

    @property
    def chosen(self) -> Outcome | None:
        """The outcome that becomes a preset; None where nothing was measured, or one of several alone."""
        n_measured = sum(one.speed is not None for one in self.outcomes)
        n_left = sum(one.status is Status.NOT_REACHED for one in self.outcomes)
        return fastest(self.outcomes) if n_measured > 1 or not n_left else None


def this_machines_cores() -> Cores:
    """Return the cores that this process may use."""
    found = read_cores()
    return Cores(physical=found.usable, logical=found.usable_logical)


def planned(
    model: ModelSpec, execution: Execution, max_new_tokens: int, cores: Cores | None = None
) -> tuple[Questions, list[Outcome]]:
    """Return what would be asked, and the candidates: those that are known not to fit with the reason.

    Args:
        model: as it is configured.
        execution: what the candidates do not say.
        max_new_tokens: the longest answer.
        cores: of the machine; None to look.

    Raises:
        UsageError: the engine has nothing to tune, or the model's weights are not known.
    """
    found = questions(model, max_new_tokens)
    free = free_memory()
    tried = candidates(
        model.engine,
        needed_tokens=found.context_tokens,
        longest_tokens=model.context_tokens,
        cores=cores or this_machines_cores(),
        has_gpu=any(memory.place is Place.DEVICE for memory in free),
    )
    return found, [_fitted(candidate, found.model, execution, free) for candidate in tried]


def tune(
    asked: Questions,
    outcomes: Sequence[Outcome],
    execution: Execution,
    *,
    seconds: float,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
) -> Tuning:
    """Measure the candidates that fit, one after another, and those that are close to the fastest once more.

    Each is given the same share of the time, loads included, and is asked the same requests in the same order. The
    weights are fetched before the clock starts; answers under way when it ends are waited for.

    Args:
        asked: what they are asked.
        outcomes: of `planned`.
        execution: what the candidates do not say.
        seconds: that all of it may take.
        on_outcome: told of each measurement as it is done.

    Raises:
        EngineError: the weights cannot be had.
    """
    weights = fetch(asked.model).path if asked.model.engine.has_weights_here else None
    began = time.monotonic()
    found = list(outcomes)

    overhead = 0.0  # beside the asking: the load, the warm-up, and the answers under way at the end

    def measure_in_turn(indices: Sequence[int], until: float) -> None:
        nonlocal overhead
        for position, index in enumerate(indices):
            turn = time.monotonic()
            share = (until - turn) / (len(indices) - position) - overhead
            if share < _LEAST_S:
                if found[index].speed is None:
                    why = "the time was up; give more with --minutes"
                    found[index] = replace(found[index], status=Status.NOT_REACHED, why=why)
                continue
            now, estimate = measure(
                found[index].candidate, asked.model, weights, asked.requests, execution, seconds=share
            )
            if now.speed is not None:
                overhead = max(overhead, time.monotonic() - turn - share)
            now = replace(now, needed_bytes=found[index].needed_bytes)
            _note(now, estimate, asked.model)
            found[index] = now if found[index].speed is None else now.joined(found[index])
            on_outcome(found[index])

    waiting = [index for index, one in enumerate(found) if one.status is Status.NOT_REACHED]
    measure_in_turn(waiting, began + FIRST_ROUND * seconds)
    close = finalists(found)
    measure_in_turn([found.index(one) for one in close], began + seconds)
    return Tuning(
        model=asked.model,
        outcomes=tuple(found),
        machine=machine_identity(),
        at=datetime.now(UTC),
        seconds=time.monotonic() - began,
    )


def _fitted(
    candidate: Candidate, model: ModelSpec, execution: Execution, free: Sequence[FreeMemory]
) -> Outcome:
    held = candidate.carried_out(execution)
    fit = model_fit(model, _rows(candidate, held, model), candidate.context_tokens, held, free)
    is_too_large = fit.fit.fits is False
    return Outcome(
        candidate=candidate,
        status=Status.TOO_LARGE if is_too_large else Status.NOT_REACHED,
        why=f"{fit.fit.why}; not tried" if is_too_large else None,
        needed_bytes=None if fit.estimate is None else fit.estimate.total,
    )


def _rows(candidate: Candidate, held: Execution, model: ModelSpec) -> int:
    """Return for how many requests a candidate takes memory at once."""
    if model.engine is not EngineKind.TRANSFORMERS:
        return held.requests_at_once(model.engine)
    return (held.engine.transformers.batch_tokens or 0) // candidate.context_tokens or 1


def _note(outcome: Outcome, estimate: MemoryEstimate | None, model: ModelSpec) -> None:
    """Keep a measured peak for later estimates; a cache that cannot be written to costs them that."""
    if estimate is None or outcome.peak is None or model.sha256 is None:
        return
    try:
        note_peak(
            estimate,
            outcome.peak,
            model=model.name,
            model_digest=model.sha256,
            machine=machine_identity(),
        )
    except OSError as error:
        _LOG.warning("the peak memory of %s is not kept: %s", model.name, error)
