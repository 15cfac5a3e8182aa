"""What a block's engine held at most: seen while it is held, in the manifest, and kept to correct later estimates.

None of it can fail a run: what cannot be seen is null, what cannot be kept is a warning.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from overnight.engines.state import EngineState, read_state
from overnight.errors import EngineUnavailable
from overnight.memory.estimate import MemoryEstimate
from overnight.memory.fitting import estimate_model
from overnight.memory.free import free_memory
from overnight.memory.peaks import note_peak
from overnight.memory.processes import MeasuredPeak, MemoryWatch
from overnight.planning.ladder import Rung
from overnight.planning.plan import ModelBlock
from overnight.spec.model import EngineKind
from overnight.spec.prompt_sweep import Execution
from overnight.store.journal import Row, read_rows
from overnight.store.manifest import PeakMemory, RunManifest, update_manifest
from overnight.store.run_folder import RunFolder
from overnight.telemetry.environment import machine_identity

_LOG = logging.getLogger(__name__)
_LOOK_S = 0.5
_VAGUE = 0.05  # of an estimate: what is not known better than this says nothing about its error


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One process that held a model, and the most that it held."""

    rung: Rung
    pid: int
    since: datetime
    peak: MeasuredPeak


@contextlib.contextmanager
def peaks_noted(folder: RunFolder, block: ModelBlock, execution: Execution) -> Iterator[None]:
    """Watch the memory of whatever process holds a block's model, and write down the most, however the block ends.

    The process may change on the way: a host that died is started again, and a ladder steps down. What is written down
    is of the rung that was held last.

    Args:
        folder: of the run.
        block: whose model is held; its process is still there when the block ends.
        execution: how.
    """
    watch = _HoldingsWatch(folder, block)
    watch.start()
    try:
        yield
    finally:
        try:
            _write_down(folder, block, execution, watch.end())
        except Exception as error:  # noqa: BLE001 - a run is worth more than what is known of its memory
            _LOG.warning("the peak memory of %s is not written down: %s", block.model.name, error)


def tokens_to_save(rows: Sequence[Row]) -> tuple[int, int] | None:
    """Return the least and the most tokens that an engine may have saved of what it was asked; None where unknown.

    It is between what it evaluated anew and all that stood in its slots: it saves a slot's whole sequence, but not
    where the next prompt goes on from most of it.

    Args:
        rows: of the journals, of what one process was asked.
    """
    least = most = 0
    for row in rows:
        if row["status"] != "ok" or row.get("cached"):
            continue
        if row["prompt_tokens"] is None or row["completion_tokens"] is None:
            return None
        least += row["prompt_tokens"] - (row["cached_tokens"] or 0)
        most += row["prompt_tokens"] + row["completion_tokens"]
    return (least, most) if most else None


def _write_down(
    folder: RunFolder, block: ModelBlock, execution: Execution, holdings: Sequence[Holding]
) -> None:
    if not holdings:
        return
    last = holdings[-1]
    record = _most(last.rung, [one.peak for one in holdings if one.rung == last.rung])

    def change(manifest: RunManifest) -> RunManifest:
        before = manifest.blocks[block.model.name]
        after = before.model_copy(update={"peak_memory": record.joined(before.peak_memory)})
        return manifest.model_copy(update={"blocks": {**manifest.blocks, block.model.name: after}})

    update_manifest(folder, change)
    estimate = _comparable_estimate(folder, block, execution, last)
    if estimate is not None and last.rung.model.sha256 is not None:
        note_peak(
            estimate,
            last.peak,
            model=last.rung.model.name,
            model_digest=last.rung.model.sha256,
            machine=machine_identity(),
        )


def _comparable_estimate(
    folder: RunFolder, block: ModelBlock, execution: Execution, held: Holding
) -> MemoryEstimate | None:
    """Return what was computed for the same settings; None where the two cannot be compared.

    transformers makes its batches as large as memory allows, so that its peak says how much there was. Of llama.cpp it
    must be known how much it saved: nearly nothing, or its limit.
    """
    if held.rung.model.engine is not EngineKind.LLAMA_CPP:
        return None
    since = held.since.isoformat(timespec="milliseconds")
    rows = [
        row
        for trial in block.trials
        for row in read_rows(folder.trial(trial.slug).journal)
        if row["at"] >= since
    ]
    saved = tokens_to_save(rows)
    if saved is None:
        return None
    free = free_memory()
    carried_out = held.rung.carried_out(execution)
    least, most = (
        estimate_model(
            held.rung.model,
            held.rung.slots,
            held.rung.context_tokens,
            carried_out,
            free,
            saved_tokens=tokens,
            is_plain=True,
        )[0]
        for tokens in saved
    )
    if least is None or most is None or least.total is None or most.total is None:
        return None
    return most if most.total - least.total <= _VAGUE * least.total else None


def _most(rung: Rung, peaks: Sequence[MeasuredPeak]) -> PeakMemory:
    found = PeakMemory(held_as=rung.label)
    for peak in peaks:
        found = PeakMemory(
            held_as=rung.label,
            host_bytes=peak.host_bytes,
            own_bytes=peak.host_anonymous_bytes,
            device_bytes=peak.device_bytes,
        ).joined(found)
    return found


class _HoldingsWatch:
    """Follows a block's state files and watches each process that they name."""

    def __init__(self, folder: RunFolder, block: ModelBlock) -> None:
        self._rungs = {(r.model.name, r.slots, r.context_tokens): r for r in block.ladder.rungs}
        self._paths = {name: folder.engines / f"{name}.json" for name, _, _ in self._rungs}
        self._ended: list[Holding] = []
        self._now: tuple[Rung, int, datetime, MemoryWatch] | None = None
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"peaks of {block.model.name}", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        with contextlib.suppress(Exception):
            self._look()
        self._thread.start()

    def end(self) -> list[Holding]:
        """Stop looking; return every process that was seen, the first one first."""
        self._leaving.set()
        self._thread.join()
        self._look()
        self._close()
        return self._ended

    def _run(self) -> None:
        while not self._leaving.wait(_LOOK_S):
            with contextlib.suppress(Exception):  # what is measured beside a run never ends it
                self._look()

    def _look(self) -> None:
        found = self._held()
        if found is None:
            return
        rung, pid = found
        if self._now is not None and (rung, pid) == self._now[:2]:
            return
        self._close()
        self._now = (rung, pid, datetime.now(UTC), MemoryWatch(pid).__enter__())

    def _close(self) -> None:
        if self._now is None:
            return
        rung, pid, since, watch = self._now
        self._now = None
        watch.__exit__(None, None, None)
        self._ended.append(Holding(rung=rung, pid=pid, since=since, peak=watch.peak))

    def _held(self) -> tuple[Rung, int] | None:
        """Return the rung that is held now and its process; None while there is none of ours."""
        for name, path in self._paths.items():
            state = _state(path) if path.exists() else None
            if state is None or state.status != "serving" or state.pid is None:
                continue
            rung = self._rungs.get((name, state.slots, state.context_tokens))
            if rung is not None:
                return rung, state.pid
        return None


def _state(path: Path) -> EngineState | None:
    try:
        return read_state(path)
    except EngineUnavailable:
        return None
