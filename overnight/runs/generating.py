"""The submit and poll steps: every draw of a trial that is not done yet."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from overnight.engines.dispatch import DispatchPolicy, dispatch
from overnight.engines.protocol import Engine
from overnight.errors import StopRequested
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.requests import Request
from overnight.planning.trials import Trial
from overnight.runs.building import built_requests
from overnight.runs.reusing import KeepingJournal, open_cache, reuse, row_fields
from overnight.spec.prompt_sweep import Execution
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
    folder: RunFolder, plan: Plan, block: ModelBlock, trial: Trial, engine: Engine, execution: Execution
) -> Generated:
    """Ask for every draw that neither the journal nor the request cache holds; return when all of them are on disk.

    Raises:
        StopRequested: somebody asked the run to stop; what is under way was waited for.
        EngineError: the engine is gone for good.
    """
    trial_folder = folder.trial(trial.slug)
    stop = _stop_signal(folder)
    cache = open_cache(folder, block, trial, execution)
    with KeepingJournal(trial_folder.journal, cache) as journal:
        done = finished_ids(trial_folder.journal)

        def todo() -> Iterator[Request]:
            return (r for r in built_requests(folder, plan, trial) if r.custom_id not in done)

        if cache is not None:
            done |= await asyncio.to_thread(reuse, todo(), cache, journal, row_fields(trial, block))
        progress = _PartProgress(folder, plan, trial, done)
        BOARD.start(trial.slug, n_expected=progress.n_expected, n_done=progress.n_done)
        started = time.perf_counter()
        try:
            await dispatch(
                todo(),
                engine,
                journal,
                policy=DispatchPolicy(
                    concurrency=execution.max_concurrent_requests,
                    attempts_per_item=execution.attempts_per_item,
                    max_engine_restarts=execution.max_engine_restarts,
                ),
                row_fields=row_fields(trial, block),
                should_stop=stop,
                on_answered=progress.add,
            )
        finally:
            inference_s = time.perf_counter() - started
            progress.write()
            BOARD.end(trial.slug)
            await engine.close()
    if stop() and progress.n_open:
        raise StopRequested(f"{trial.slug}: {progress.n_open} of {progress.n_expected} draws are left")
    return Generated(counts=count_draws(folder, plan, trial), inference_s=inference_s, n_sent=progress.n_sent)


def count_draws(folder: RunFolder, plan: Plan, trial: Trial) -> TrialCounts:
    """Return how many draws of a trial are done, failed, cut off and taken from the cache, from its journal."""
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
            done.add(name)
            if row["finish_reason"] == "length":
                truncated.add(name)
        else:
            failed.add(name)
    return TrialCounts(
        expected=plan.requests_per_trial[trial.slug],
        done=len(done),
        errors=len(failed - done),
        truncated=len(truncated),
        cache_hits=cache_hits,
        sent=sent,
        generated_tokens=tokens,
    )


class _PartProgress:
    """Counts by part, kept on disk in each part's ``state.json``."""

    def __init__(self, folder: RunFolder, plan: Plan, trial: Trial, done: set[str]) -> None:
        self._folder = folder.trial(trial.slug)
        self._slug = trial.slug
        self._expected: Counter[str] = Counter()
        self._done: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        for request in built_requests(folder, plan, trial):
            self._expected[request.part] += 1
            self._done[request.part] += request.custom_id in done
        self.n_sent = 0

    @property
    def n_expected(self) -> int:
        return self._expected.total()

    @property
    def n_done(self) -> int:
        return self._done.total()

    @property
    def n_open(self) -> int:
        """Draws that were neither answered nor given up."""
        return self.n_expected - self.n_done - self._errors.total()

    def add(self, rows: list[Row]) -> None:
        for row in rows:
            (self._done if is_done(row) else self._errors)[row["part"]] += 1
        self.n_sent += len(rows)
        BOARD.add(
            self._slug,
            n_done=sum(is_done(row) for row in rows),
            n_errors=sum(not is_done(row) for row in rows),
            completion_tokens=sum(row["completion_tokens"] or 0 for row in rows),
        )

    def write(self) -> None:
        for part, expected in self._expected.items():
            done, errors = self._done[part], self._errors[part]
            complete = "completed_with_errors" if errors else "completed"
            write_json(
                self._folder.part_state(part),
                {
                    "part": part,
                    "status": complete if done + errors == expected else "incomplete",
                    "expected": expected,
                    "done": done,
                    "errors": errors,
                },
            )


def _stop_signal(folder: RunFolder) -> Callable[[], bool]:
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
