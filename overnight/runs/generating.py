"""The submit and poll steps: every draw of a trial that is not done yet."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from overnight.engines.dispatch import DispatchPolicy, dispatch
from overnight.engines.protocol import Engine
from overnight.errors import StopRequested
from overnight.planning.best_of_k_trials import BestOfKTrial
from overnight.planning.parts import Part
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.requests import Request, part_ids, part_requests
from overnight.planning.trial import Trial
from overnight.runs.building import built_requests
from overnight.runs.chunks import vectors_done, whole_chunks
from overnight.runs.expected import expected_draws
from overnight.runs.reusing import KeepingJournal, open_cache, reuse, row_fields
from overnight.spec.execution import Execution
from overnight.store.files import write_json
from overnight.store.journal import Row, finished_ids, is_done, read_rows
from overnight.store.manifest import TrialCounts
from overnight.store.run_folder import RunFolder
from overnight.telemetry.progress import BOARD

_STOP_LOOK_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """What the generation of a trial came to."""

    counts: TrialCounts
    inference_s: float  # of this stretch
    n_sent: int  # answers and errors of this stretch


async def generate(
    folder: RunFolder,
    plan: Plan,
    block: ModelBlock,
    trial: Trial,
    engine: Engine,
    execution: Execution,
    *,
    parts: Sequence[Part] | None = None,
    until: datetime | None = None,
) -> Generated:
    """Ask for every draw that neither the journal nor the request cache holds; return when all of them are on disk.

    Args:
        folder: of the run.
        plan: of the run.
        block: the trial's.
        trial: whose draws are asked for.
        engine: whom to ask.
        execution: how.
        parts: slices of the plan's parts, to ask for these alone; None asks for all that was built.
        until: after it no request is sent any more; what is under way is waited for.

    Raises:
        StopRequested: somebody asked the run to stop; what is under way was waited for.
        EngineError: the engine is gone for good.
    """
    trial_folder = folder.trial(trial.slug)
    stop = stop_signal(folder)
    cache = open_cache(folder, block, trial, execution)
    with KeepingJournal(trial_folder.journal, cache) as journal:
        done = finished_ids(trial_folder.journal)

        def todo() -> Iterator[Request]:
            return (r for r in _requests(folder, plan, trial, parts) if r.custom_id not in done)

        if cache is not None:
            done |= await asyncio.to_thread(reuse, todo(), cache, journal, row_fields(trial, block))
        progress = _Progress(trial.slug, n_open=sum(1 for _ in todo()))
        expected = expected_draws(folder, plan, trial)
        BOARD.start(trial.slug, n_expected=expected, n_done=min(len(done), expected))
        started = time.perf_counter()
        try:
            await dispatch(
                todo(),
                engine,
                journal,
                policy=DispatchPolicy(
                    concurrency=block.held.slots,
                    attempts_per_item=execution.attempts_per_item,
                    max_engine_restarts=execution.max_engine_restarts,
                ),
                row_fields=row_fields(trial, block),
                should_stop=lambda: stop() or (until is not None and datetime.now(UTC) >= until),
                on_answered=progress.add,
            )
        finally:
            inference_s = time.perf_counter() - started
            if parts is None:
                write_part_states(folder, plan, trial)
            BOARD.end(trial.slug)
            await engine.close()
    if stop() and progress.n_open:
        raise StopRequested(f"{trial.slug}: {progress.n_open} of {expected} draws are left")
    return Generated(counts=count_draws(folder, plan, trial), inference_s=inference_s, n_sent=progress.n_sent)


def count_draws(folder: RunFolder, plan: Plan, trial: Trial) -> TrialCounts:
    """Return how many draws of a trial are done, failed, cut off and taken from the cache, from its journal.

    A draw of a vector is done with its chunk.
    """
    vectors = (
        vectors_done(whole_chunks(folder, trial.slug, trial.n_draws))
        if isinstance(trial, BestOfKTrial)
        else None
    )
    done: set[str] = set()
    failed: set[str] = set()
    truncated: set[str] = set()
    cache_hits = sent = 0
    tokens: int | None = None
    for row in read_rows(folder.trial(trial.slug).journal):
        name = row["custom_id"]
        if row.get("cached"):
            cache_hits += name not in done
        else:
            sent += 1
            if row.get("completion_tokens") is not None:
                tokens = (tokens or 0) + row["completion_tokens"]
        if is_done(row):
            if vectors is not None and row["vector"] not in vectors:
                continue
            done.add(name)
            if row["finish_reason"] == "length":
                truncated.add(name)
        else:
            failed.add(name)
    return TrialCounts(
        expected=expected_draws(folder, plan, trial),
        done=len(done),
        errors=len(failed - done),
        truncated=len(truncated),
        cache_hits=cache_hits,
        sent=sent,
        generated_tokens=tokens,
    )


def write_part_states(folder: RunFolder, plan: Plan, trial: Trial) -> None:
    """Write how far each part of a trial is, by its journal."""
    done: set[str] = set()
    failed: set[str] = set()
    for row in read_rows(folder.trial(trial.slug).journal):
        (done if is_done(row) else failed).add(row["custom_id"])
    failed -= done
    for part in plan.parts_of(trial):
        n_expected = n_done = n_errors = 0
        for name in part_ids(trial, part, plan.conditions):
            n_expected += 1
            n_done += name in done
            n_errors += name in failed
        complete = "completed_with_errors" if n_errors else "completed"
        write_json(
            folder.trial(trial.slug).part_state(part.name),
            {
                "part": part.name,
                "status": complete if n_done + n_errors == n_expected else "incomplete",
                "expected": n_expected,
                "done": n_done,
                "errors": n_errors,
            },
        )


def _requests(folder: RunFolder, plan: Plan, trial: Trial, parts: Sequence[Part] | None) -> Iterator[Request]:
    if parts is None:
        yield from built_requests(folder, plan, trial)
        return
    for part in parts:
        if trial.asks_of(part.dataset):
            yield from part_requests(trial, part, plan.conditions)


class _Progress:
    """What came back in this stretch."""

    def __init__(self, slug: str, n_open: int) -> None:
        self._slug = slug
        self.n_open = n_open  # draws that were neither answered nor given up
        self.n_sent = 0

    def add(self, rows: list[Row]) -> None:
        self.n_open -= len(rows)
        self.n_sent += len(rows)
        BOARD.add(
            self._slug,
            n_done=sum(is_done(row) for row in rows),
            n_errors=sum(not is_done(row) for row in rows),
            completion_tokens=sum(row["completion_tokens"] or 0 for row in rows),
        )


def stop_signal(folder: RunFolder) -> Callable[[], bool]:
    """Return a cheap question: does the run's stop file exist? It is looked for a few times a second."""
    looked = 0.0
    found = False

    def should_stop() -> bool:
        nonlocal looked, found
        now = time.monotonic()
        if not found and now - looked >= _STOP_LOOK_S:
            looked, found = now, folder.stop_request.exists()
        return found

    return should_stop
