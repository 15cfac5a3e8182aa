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
from overnight.memory.comparable import comparable_estimate
from overnight.memory.peaks import note_peak
from overnight.memory.processes import MeasuredPeak, MemoryWatch
from overnight.planning.ladder import Rung
from overnight.planning.plan import ModelBlock
from overnight.spec.execution import Execution
from overnight.store.journal import Row, read_rows
from overnight.store.manifest import PeakMemory, RunManifest, update_manifest
from overnight.store.run_folder import RunFolder
from overnight.telemetry.environment import machine_identity

_LOG = logging.getLogger(__name__)
_LOOK_S = 0.5


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
    held = last.rung
    rows = _rows(folder, block, last.since)
    estimate = comparable_estimate(
        held.model, held.slots, held.context_tokens, held.carried_out(execution), rows
    )
    if estimate is not None and held.model.sha256 is not None:
        note_peak(
            estimate,
            last.peak,
            model=held.model.name,
            model_digest=held.model.sha256,
            machine=machine_identity(),
        )


def _rows(folder: RunFolder, block: ModelBlock, since: datetime) -> Iterator[Row]:
    """Yield the rows of a block that came after a time."""
    start = since.isoformat(timespec="milliseconds")
    for trial in block.trials:
        for row in read_rows(folder.trial(trial.slug).journal):
            if row["at"] >= start:
                yield row


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
