"""What a stretch of generation took, out of the journal, for later plans and for the manifest."""

import logging
import time
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from overnight.engines.host import HostSettings
from overnight.engines.state import read_state
from overnight.errors import EngineUnavailable
from overnight.planning.estimate import Measurement
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.trial import Trial
from overnight.planning.work import shared_bytes
from overnight.records import FinishReason
from overnight.runs.building import built_requests
from overnight.spec.model import EngineKind
from overnight.store.journal import is_done, read_rows
from overnight.store.manifest import Energy
from overnight.store.run_folder import RunFolder
from overnight.telemetry.energy import Counters, energy_between, read_counters
from overnight.telemetry.environment import machine_identity
from overnight.telemetry.rates import store_rate

_LOG = logging.getLogger(__name__)
_FEWEST_REQUESTS = 8  # fewer say more about the first one than about the machine


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of generation from its beginning on."""

    n_rows_before: int  # in the journal
    started: float  # by the monotonic clock
    counters: Counters
    beside: tuple[str, ...] = ()  # models that are held at the same time

    def so_far(self) -> tuple[float, Energy]:
        """Return the seconds since it began, and what the GPUs used meanwhile; unknown where others used them too."""
        used = energy_between(self.counters, read_counters())
        if self.beside and used.joules is not None:
            used = Energy(undefined_because=f"{', '.join(self.beside)} used the GPUs at the same time")
        return time.perf_counter() - self.started, used


def begin_stretch(folder: RunFolder, slug: str, beside: tuple[str, ...] = ()) -> Stretch:
    """Note the time, the energy counters, and where the journal of a trial stands.

    Args:
        folder: of the run.
        slug: the trial's.
        beside: models that are held at the same time as the trial's.
    """
    n_rows = sum(1 for _ in read_rows(folder.trial(slug).journal))
    return Stretch(n_rows, time.perf_counter(), read_counters(), beside)


class _Counts(NamedTuple):
    """What is wanted of an answer; its text is not."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    is_truncated: bool


def measure(
    folder: RunFolder, plan: Plan, trial: Trial, stretch: Stretch, *, inference_s: float, load_s: float | None
) -> Measurement | None:
    """Return what the answers of a stretch came to, or None where it measures nothing.

    That is so where hardly anything was asked, a request failed (the failure was measured, then, not the machine),
    or the engine does not count tokens. Answers from the request cache are left out.
    """
    rows: dict[str, _Counts] = {}
    for row in islice(read_rows(folder.trial(trial.slug).journal), stretch.n_rows_before, None):
        if not is_done(row) or row["prompt_tokens"] is None or row["completion_tokens"] is None:
            return None
        if not row.get("cached"):
            rows[row["custom_id"]] = _Counts(
                row["prompt_tokens"],
                row["cached_tokens"] or 0,
                row["completion_tokens"],
                row["finish_reason"] == FinishReason.LENGTH,
            )
    if len(rows) < _FEWEST_REQUESTS:
        return None
    prompt_bytes = new_bytes = limit_tokens = 0
    before = b""
    for request in built_requests(folder, plan, trial):
        if request.custom_id in rows:
            text = "".join(message["content"] for message in request.messages).encode("utf-8", "replace")
            prompt_bytes += len(text)
            new_bytes += len(text) - shared_bytes(before, text)
            limit_tokens += request.max_new_tokens
            before = text
    prompt_tokens = sum(row.prompt_tokens for row in rows.values())
    return Measurement(
        n_requests=len(rows),
        n_truncated=sum(row.is_truncated for row in rows.values()),
        prompt_tokens=prompt_tokens,
        evaluated_tokens=prompt_tokens - sum(row.cached_tokens for row in rows.values()),
        completion_tokens=sum(row.completion_tokens for row in rows.values()),
        prompt_bytes=prompt_bytes,
        new_bytes=new_bytes,
        limit_tokens=limit_tokens,
        inference_s=round(inference_s, 3),
        load_s=load_s,
    )


def note_rate(
    folder: RunFolder,
    plan: Plan,
    block: ModelBlock,
    trial: Trial,
    stretch: Stretch,
    settings: HostSettings,
    inference_s: float,
) -> None:
    """Keep what a stretch took; a cache that cannot be written to costs later plans their estimate, nothing else.

    Beside another model it took longer than it would alone, and nothing is kept.
    """
    if block.held.model.engine is EngineKind.DRY_RUN or block.held.model.weights_identity is None:
        return
    if stretch.beside:
        return
    try:
        load_s = read_state(folder.engines / f"{block.held.model.name}.json").load_s
    except EngineUnavailable:
        load_s = None
    measured = measure(folder, plan, trial, stretch, inference_s=inference_s, load_s=load_s)
    if measured is None:
        return
    try:
        store_rate(
            measured,
            model=block.held.model.name,
            model_digest=block.held.model.weights_identity,
            engine=block.held.model.engine.value,
            machine=machine_identity(),
            settings=speed_settings(settings),
        )
    except OSError as error:
        _LOG.warning("the rate of %s is not kept: %s", trial.slug, error)


def speed_settings(settings: HostSettings) -> dict[str, Any]:
    """Return those of a host's settings that may change how fast it answers."""
    return {
        "slots": settings.slots,
        "threads": settings.threads,
        "context_tokens": settings.context_tokens,
        **settings.options,
    }
