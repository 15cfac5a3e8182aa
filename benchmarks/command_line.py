"""``overnight`` as a process of its own, whose folders go away with the benchmark."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from figures import NotMeasuredError

from overnight.store.manifest import RunManifest, TrialRecord, read_manifest
from overnight.store.run_folder import RunFolder

T = TypeVar("T")

_HERE = Path(__file__).parent


class CommandLine:
    """``overnight`` as a process of its own, with a Prefect home and run folders that go away with the benchmark."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.experiments = scratch / "experiments"
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PREFECT_")  # no server of the user's, no settings of the user's
        } | {"PREFECT_HOME": str(scratch / "prefect")}
        self._n_runs = 0

    def run(
        self, *arguments: str, peak_memory: Path | None = None, timeout_s: float | None = None
    ) -> "FinishedRun":
        """Carry out ``overnight run ARGUMENT...`` and return what it came to; every request is sent.

        Args:
            arguments: of the command.
            peak_memory: a file for the peak memory of its process, in bytes.
            timeout_s: how long it may take; None: as long as it takes.

        Raises:
            NotMeasuredError: it failed, or took longer.
        """
        self._n_runs += 1
        run_id = f"benchmark{self._n_runs:03d}"
        script = [str(_HERE / "peak_memory.py"), str(peak_memory)] if peak_memory else ["-m", "overnight"]
        command = [*script, "run", *arguments, "--no-cache"]
        command += ["--experiments-dir", str(self.experiments), "--run-id", run_id]
        began = datetime.now(UTC)
        started = time.perf_counter()
        self.python(*command, timeout_s=timeout_s)
        wall_s = time.perf_counter() - started
        return FinishedRun(RunFolder(self.experiments / f"run_{run_id}"), began, wall_s)

    def python(self, *arguments: str, timeout_s: float | None = None) -> None:
        """Run this Python with arguments to its end.

        Raises:
            NotMeasuredError: it failed, or took longer than it may.
        """
        with subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.scratch,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # its children go with it, however it ends
        ) as process:
            try:
                out, err = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                _kill(process)
                raise NotMeasuredError(f"{' '.join(arguments)}: took more than {timeout_s:.0f} s") from None
            except BaseException:
                _kill(process)
                raise
        if process.returncode:
            said = (err or out).strip().splitlines() or ["nothing"]
            raise NotMeasuredError(f"exit code {process.returncode} of {' '.join(arguments)}: {said[-1]}")


def _kill(process: "subprocess.Popen[str]") -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run folder, and the process that filled it."""

    folder: RunFolder
    began: datetime
    wall_s: float

    @property
    def manifest(self) -> RunManifest:
        """What the run says of itself."""
        return read_manifest(self.folder)

    @property
    def trials(self) -> list[TrialRecord]:
        """Its trials in the order in which they ran."""
        return sorted(self.manifest.trials.values(), key=lambda t: known(t.timings.started))

    def only_trial(self) -> tuple[str, TrialRecord]:
        """Return the slug and the record of its one trial."""
        ((slug, record),) = self.manifest.trials.items()
        return slug, record


def say(text: str) -> None:
    """Tell whoever waits how it goes; what is printed on standard output is the result."""
    print(f"  ... {text}", file=sys.stderr, flush=True)


def known(value: T | None) -> T:
    if value is None:
        raise NotMeasuredError("the manifest lacks a timing")
    return value
