"""The process that hands the trials of a run to Weights & Biases: ``python -m tasks.wandb_runs``.

It is a process of its own, so that whatever wandb does (threads, a service, a server that does not answer) ends with
it. It reads one JSON line of settings and prints one JSON line a trial; what wandb prints goes to standard error.
"""

import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, TextIO

from overnight.report.tracked import TrackedTrial, tracked_trials
from overnight.store.manifest import read_manifest
from overnight.store.run_folder import RunFolder

PROJECT = "overnight"
_LONGEST_REASON = 300  # characters


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrackingOrder:
    """What the process is told."""

    run_dir: str
    mode: str  # offline or online
    folder: str  # in which wandb makes its own
    project: str | None
    entity: str | None
    call_s: float  # that wandb may wait for its server in one call

    @classmethod
    def read(cls, line: str) -> Self:
        """Return what a line says."""
        return cls(**json.loads(line))

    def line(self) -> str:
        """Return it as a line."""
        return json.dumps(dataclasses.asdict(self))


def track_trials(order: TrackingOrder) -> Iterator[str]:
    """Hand over one trial after the other, and yield the slug of each that is through."""
    import wandb  # noqa: PLC0415 - what is missing or broken here is said like all that follows

    folder = RunFolder(Path(order.run_dir))
    Path(order.folder).mkdir(parents=True, exist_ok=True)
    settings = _settings(wandb, order)
    for trial in tracked_trials(folder, read_manifest(folder)):
        before = _offline_runs(order, trial)
        _track(wandb, order, settings, trial)
        for old in before:  # of an earlier stretch of the same run; the new one holds all of it
            shutil.rmtree(old, ignore_errors=True)
        yield trial.slug


def _track(wandb: Any, order: TrackingOrder, settings: Any, trial: TrackedTrial) -> None:
    run = wandb.init(
        project=order.project or os.environ.get("WANDB_PROJECT") or PROJECT,
        entity=order.entity,
        group=trial.run_id,
        job_type=trial.kind,
        name=trial.slug,
        id=trial.key,
        dir=order.folder,
        mode=order.mode,
        # A trial that went on is the same run there; without a server nobody can tell, and wandb says so.
        resume="allow" if order.mode == "online" else None,
        config=dict(trial.config),
        settings=settings,
    )
    shown: dict[str, Any] = {
        f"figures/{figure.stem}": wandb.Image(str(figure), caption=figure.stem) for figure in trial.figures
    }
    if trial.table is not None:
        shown[trial.table.name] = wandb.Table(
            columns=list(trial.table.columns), data=[list(row) for row in trial.table.rows]
        )
    run.log({**trial.metrics, **shown})
    run.finish(exit_code=int(trial.has_failed))


def _settings(wandb: Any, order: TrackingOrder) -> Any:
    """Return settings under which wandb says nothing, starts nothing and notes nothing of the machine."""
    wanted = {
        "silent": True,
        "console": "off",
        "symlink": False,
        "init_timeout": order.call_s,
        "login_timeout": order.call_s,
        "disable_code": True,
        "disable_git": True,
        "disable_job_creation": True,
        "save_code": False,
        "x_disable_stats": True,
        "x_disable_meta": True,
        "x_disable_machine_info": True,
        "x_save_requirements": False,
    }
    known = wandb.Settings.model_fields  # what an earlier version lacks cannot be said
    return wandb.Settings(**{name: value for name, value in wanted.items() if name in known})


def _offline_runs(order: TrackingOrder, trial: TrackedTrial) -> list[Path]:
    return list(Path(order.folder).glob(f"wandb/offline-run-*-{trial.key}"))


def _answers() -> TextIO:
    """Return where answers go, and turn standard output to standard error for all that wandb or its service prints."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def main() -> None:
    """Read the settings, hand over the trials, and say of each that it is through, or what went wrong."""
    answers = _answers()

    def say(**answer: object) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    try:
        for slug in track_trials(TrackingOrder.read(sys.stdin.readline())):
            say(trial=slug)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the one who waits is told
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        say(failed=f"{type(error).__name__}: {reason}" if reason else type(error).__name__)
    else:
        say(ended=True)


if __name__ == "__main__":
    main()
