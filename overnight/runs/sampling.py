"""The sampler beside a model, and what its samples say of each trial; none of it can fail a run.

The sampler writes ``telemetry/<model>.csv`` while the model is held. A trial knows its own samples by the bytes of
that table that were written while it generated: these windows are in the manifest, and every summary is made anew
from all of them, so that a resumed trial has the percentiles of the whole.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from overnight.engines.state import read_state
from overnight.errors import EngineUnavailable
from overnight.planning.plan import ModelBlock
from overnight.planning.trial import Trial
from overnight.runs.machine_record import add_window, describe_run, describe_trial
from overnight.spec.execution import Execution
from overnight.spec.model import EngineKind
from overnight.store.run_folder import RunFolder
from overnight.telemetry.sampler import Sampler
from overnight.telemetry.sensors import MachineSensors
from overnight.telemetry.table import table_size

_LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def sampled(folder: RunFolder, block: ModelBlock, execution: Execution) -> Iterator[None]:
    """Look at the machine while the model of a block is held, and write down what was seen.

    Nothing is looked at where ``execution.telemetry.enabled`` is false, or where no model is held.
    """
    name = block.model.name
    if not execution.telemetry.enabled or block.model.engine is EngineKind.DRY_RUN:
        yield
        return
    models = dict.fromkeys(rung.model.name for rung in block.ladder.rungs)
    pid = engine_pid(*(folder.engines / f"{model}.json" for model in models))
    sampler = Sampler(lambda: MachineSensors(pid), hz=execution.telemetry.hz, path=folder.samples(name))
    sampler.start()
    try:
        yield
    finally:
        sampler.stop()
        with _never_failing(name):
            describe_run(folder, name, sampler)


class Watch:
    """Tells the samples of one trial from those of the next, while they take turns with one model."""

    def __init__(self, folder: RunFolder, block: ModelBlock) -> None:
        self._folder = folder
        self._model = block.model.name
        self._trials: dict[str, Trial] = {}
        self._place = table_size(folder.samples(self._model))

    def was_of(self, trial: Trial) -> None:
        """Say that what was sampled since this was last said, or since the beginning, was a trial's."""
        with _never_failing(trial.slug):
            self._trials[trial.slug] = trial
            window = (self._place, table_size(self._folder.samples(self._model)))
            self._place = window[1]
            add_window(self._folder, trial.slug, window)

    def end(self) -> None:
        """Write down what the samples and the journals say of the trials, and of their parts."""
        for slug in self._trials:
            with _never_failing(slug):
                describe_trial(self._folder, slug, self._model)


@contextlib.contextmanager
def watched(folder: RunFolder, block: ModelBlock, trial: Trial) -> Iterator[None]:
    """Write down what the machine did while a trial generated, however that ends."""
    watch = Watch(folder, block)
    try:
        yield
    finally:
        watch.was_of(trial)
        watch.end()


def engine_pid(*state_paths: Path) -> Callable[[], int | None]:
    """Return what gives the process that holds a model, by its state file; None while there is none.

    Args:
        state_paths: of the models of a ladder, of which one is held at a time.
    """
    seen: tuple[int, int] | None = None
    pid: int | None = None

    def look() -> int | None:
        nonlocal seen, pid
        try:
            path = next((path for path in state_paths if path.exists()), state_paths[0])
            entry = path.stat()
            now = (entry.st_mtime_ns, entry.st_ino)
            if now != seen:
                pid, seen = read_state(path).pid, now
        except (OSError, EngineUnavailable):
            pid, seen = None, None
        return pid

    return look


@contextlib.contextmanager
def _never_failing(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a run is worth more than what is known of its machine
        _LOG.warning("telemetry of %s is not written down: %s", what, error)
