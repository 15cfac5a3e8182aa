"""A run beside its own folder: its trials in Weights & Biases. It never fails a run, and never holds it up for long."""

import contextlib
import importlib.util
import json
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import psutil
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from overnight.planning.tracking import TrackingMode, decide
from overnight.processes import apart
from overnight.runs.opening import load_spec
from overnight.spec.tracking import TrackingSettings
from overnight.store.run_folder import RunFolder
from tasks.wandb_runs import TrackingOrder

PATIENCE_S: Final = 30.0  # for the next trial to be through; then the rest is given up
_CALL_S: Final = 12.0  # for one call to a server, so that wandb itself can say what is wrong
_LEAVE_S: Final = 5.0
_LOOK_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """What became of the trials of a run."""

    n_trials: int = 0  # that are through
    problem: str | None = None  # in one line; the trials behind it are not tracked


# NO_CACHE: what was gone on with is tracked again, and is the same run over there.
@task(name="track-run", cache_policy=NO_CACHE, persist_result=False)
def track(run_dir: Path) -> None:
    """Hand the trials of a run to Weights & Biases, where that is wanted."""
    try:
        for level, sentence in track_run(RunFolder(run_dir)):
            get_run_logger().log(level, "%s", sentence)
    except Exception as error:  # noqa: BLE001 - the run is complete, and nothing here may take that away
        get_run_logger().warning("the run is not tracked: %s: %s", type(error).__name__, error)


def track_run(folder: RunFolder) -> Iterator[tuple[int, str]]:
    """Hand over the trials of a run, and yield what is to be said of it, each with its level of logging."""
    spec = load_spec(folder)
    settings = spec.execution.tracking
    decision = decide(
        settings, os.environ, is_installed=_is_installed(), is_rehearsal=spec.experiment.dry_run
    )
    if decision.note:
        yield logging.WARNING, decision.note
    if decision.mode is None:
        return
    place = Path(settings.dir).expanduser() if settings.dir else folder.path
    tracked = hand_over(_order(folder, settings, decision.mode, place), folder.stop_request)
    if tracked.problem:
        yield (
            logging.WARNING,
            f"wandb: {tracked.problem}; {tracked.n_trials} trials are tracked, the run is complete without it",
        )
    elif decision.mode is TrackingMode.OFFLINE:
        yield (
            logging.INFO,
            f"wandb: {tracked.n_trials} trials are in {place / 'wandb'}; `wandb sync` sends them",
        )
    else:
        yield logging.INFO, f"wandb: {tracked.n_trials} trials are tracked in group {folder.run_id}"


def hand_over(order: TrackingOrder, stop_request: Path, patience_s: float = PATIENCE_S) -> Tracked:
    """Have a process of its own hand over the trials, and end it when it is through, fails or is silent for too long.

    Args:
        order: what it is told.
        stop_request: a file whose existence ends the wait; it is taken away then, since the run is complete.
        patience_s: how long the next trial may take.
    """
    environment = {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true", **os.environ}
    with subprocess.Popen(
        [sys.executable, "-m", "tasks.wandb_runs"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env=environment,
        **apart(),  # Ctrl-C is for us
    ) as process:
        tracked = Tracked(problem="it did not begin")
        try:
            tracked = _follow(process, order, stop_request, patience_s)
        finally:
            _end(process, _LEAVE_S if tracked.problem is None else 0)
    return tracked


def _follow(
    process: "subprocess.Popen[str]", order: TrackingOrder, stop_request: Path, patience_s: float
) -> Tracked:
    """Read what the process says until it is through, or will not be."""
    assert process.stdin is not None  # noqa: S101 - narrows a type
    assert process.stdout is not None  # noqa: S101
    with contextlib.suppress(BrokenPipeError):  # it is dead already; that it says nothing tells
        process.stdin.write(order.line() + "\n")
        process.stdin.flush()
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    n_trials = 0
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        if stop_request.exists():
            stop_request.unlink(missing_ok=True)
            return Tracked(n_trials=n_trials, problem="it was stopped")
        try:
            line = lines.get(timeout=_LOOK_S)
        except queue.Empty:
            continue
        if line is None:
            return Tracked(n_trials=n_trials, problem=f"its process ended with code {process.wait()}")
        answer = json.loads(line)
        if "failed" in answer:
            return Tracked(n_trials=n_trials, problem=str(answer["failed"]))
        if "ended" in answer:
            return Tracked(n_trials=n_trials)
        n_trials += 1
        until = time.monotonic() + patience_s
    return Tracked(n_trials=n_trials, problem=f"it was silent for {patience_s:g} s and was given up")


def _read(stream: IO[str], lines: "queue.SimpleQueue[str | None]") -> None:
    with contextlib.suppress(ValueError):  # the stream was closed while it was read: nobody waits any more
        for line in stream:
            lines.put(line)
    lines.put(None)


def _end(process: "subprocess.Popen[str]", leave_s: float) -> None:
    """End a process and those that it started, which are in sessions of their own."""
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(process.pid)
        family = [*parent.children(recursive=True), parent]
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=leave_s)
    for one in family:
        with contextlib.suppress(psutil.Error, OSError):
            one.kill()


def _order(folder: RunFolder, settings: TrackingSettings, mode: TrackingMode, place: Path) -> TrackingOrder:
    return TrackingOrder(
        run_dir=str(folder.path.resolve()),
        mode=mode.value,
        folder=str(place.resolve()),
        project=settings.project,
        entity=settings.entity,
        call_s=_CALL_S,
    )


def _is_installed() -> bool:
    """Return whether wandb can be imported, without doing so; a folder of that name is no module."""
    try:
        found = importlib.util.find_spec("wandb")
    except (ImportError, ValueError):
        return False
    return found is not None and found.origin is not None
