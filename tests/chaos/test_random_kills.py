"""SIGKILL at random moments, end to end: the command line, Prefect and a real engine; then the run goes on."""

import itertools
import os
import random
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.chaos.conftest import Undisturbed
from tests.chaos.settled import names, settled, what_is_wrong
from tests.chaos.sweeps import KINDS
from tests.command_line import CommandLine, kill_tree, settings_of

_MARKER = "OVERNIGHT_CHAOS_MARKER"
_LEAVE_S = 30.0  # for what a killed process has started
_RUN_S = 600.0
_TARGETS = ("everything", "engine", "flow", "everything", "api")
_GGUF = ("--models", "smollm2-135m-instruct-q4_1", "--set", "execution.engine.gpu_layers=0")


@dataclass(frozen=True)
class Real:
    """The command line as a user has it, all of whose processes can be told from others."""

    command: CommandLine
    marker: str

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return self.command.start(*arguments)

    def processes(self) -> list[psutil.Process]:
        """Return every process that came of a command here and lives."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(_MARKER) == self.marker and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def wait_until_alone(self) -> None:
        """Wait until nothing lives that a command here has started."""
        deadline = time.monotonic() + _LEAVE_S
        while left := self.processes():
            assert time.monotonic() < deadline, [process.cmdline() for process in left]
            time.sleep(0.2)

    def module(self, name: str) -> list[psutil.Process]:
        return [process for process in self.processes() if any(name in word for word in process.cmdline())]


@pytest.fixture
def real(tmp_path: Path, model_cache: Path) -> Iterator[Real]:
    marker = secrets.token_hex(8)
    folder = tmp_path / "work"
    cache = tmp_path / "own-cache"
    for path in (folder, cache, tmp_path / "tmp", model_cache / "models"):
        path.mkdir(parents=True, exist_ok=True)
    (cache / "models").symlink_to(model_cache / "models", target_is_directory=True)
    environment = settings_of(tmp_path / "prefect", cache) | {
        _MARKER: marker,
        "TMPDIR": str(tmp_path / "tmp"),
        "OVERNIGHT_STATE_DIR": str(tmp_path / "state"),
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }
    environment.pop("PREFECT_API_URL", None)
    found = Real(CommandLine(folder, environment), marker)
    yield found
    for process in found.processes():
        process.kill()


def _strike(real: Real, target: str, process: "subprocess.Popen[str]") -> bool:
    """Kill something; return whether there was anything to kill."""
    if target == "everything":
        kill_tree(process)
        return True
    if target == "flow":  # what it has started has to find out by itself
        process.kill()
        process.communicate()
        return True
    victims = real.module("flows.api_host" if target == "api" else "overnight.engines.")
    for each in victims:
        each.kill()
    return bool(victims)


def _wait_for_moment(process: "subprocess.Popen[str]", is_due: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _RUN_S
    while process.poll() is None and not is_due():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _moment(draw: random.Random, real: Real, n_rows: int, seconds: float) -> Callable[[], bool]:
    """Return when it is due: after so many rows more, or so many seconds."""
    if draw.random() < 0.5:
        wanted = len(real.command.journal_rows("x")) + draw.randint(0, max(1, n_rows // 3))
        return lambda: len(real.command.journal_rows("x")) >= wanted
    due = time.monotonic() + draw.uniform(0, seconds)
    return lambda: time.monotonic() >= due


def _disturbed(
    real: Real, begin: tuple[str, ...], n_kills: int, draw: random.Random, n_rows: int, seconds: float
) -> list[str]:
    """Carry a run through so many kills to its end; return what was killed."""
    done: list[str] = []
    targets = itertools.cycle(draw.sample(_TARGETS, len(_TARGETS)))
    process = real.start(*begin)
    for _ in range(20 * n_kills):
        if len(done) < n_kills:
            _wait_for_moment(process, _moment(draw, real, n_rows, seconds))
            if process.poll() is None:
                target = next(targets)
                if _strike(real, target, process):
                    done.append(target)
                if process.poll() is None:
                    continue
        if not process.stdout.closed:
            out, err = process.communicate(timeout=_RUN_S)
            assert "Traceback" not in out + err, err
            if process.returncode == 0:
                return done
        has_begun = (real.command.run_folder("x") / "manifest.json").exists()
        process = real.start(*(("resume", "x") if has_begun else begin))
    raise AssertionError(f"no end after {done}")


def _check(real: Real, undisturbed: Undisturbed) -> None:
    real.wait_until_alone()
    assert undisturbed.differences(real.command.folder) == []
    assert list(Path(real.command.environment["TMPDIR"]).iterdir()) == []
    assert not list(Path(real.command.environment["OVERNIGHT_STATE_DIR"]).glob("gpus/*.json"))


def _undisturbed(real: Real, kind: str, begin: tuple[str, ...]) -> tuple[Undisturbed, float]:
    began = time.monotonic()
    real.command(*begin[:-1], "undisturbed")
    run = real.command.run_folder("undisturbed")
    assert what_is_wrong(run) == []
    return Undisturbed(kind, settled(run), names(run), [], run.parents[1]), time.monotonic() - began


@pytest.mark.slow  # tests/e2e kills two of the kinds, and every kind is killed without Prefect
@pytest.mark.parametrize("kind", ["uncertainty-sweep", "trait-capture"])
def test_a_run_that_is_killed_twice_ends_as_if_nothing_had_been(real: Real, sweeps: Path, kind: str) -> None:
    begin = ("run", str(sweeps / f"{kind}.yaml"), "--run-id", "x")
    undisturbed, seconds = _undisturbed(real, kind, begin)
    n_rows = len(real.command.journal_rows("undisturbed"))
    _disturbed(real, begin, 2, random.Random(kind), n_rows, seconds)
    _check(real, undisturbed)


@pytest.mark.slow  # a quarter of an hour each
@pytest.mark.parametrize("kind", KINDS)
def test_thirty_random_kills_cost_nothing(real: Real, sweeps: Path, kind: str) -> None:
    seed = int(os.environ.get("OVERNIGHT_CHAOS_SEED", secrets.randbits(32)))
    n_kills = int(os.environ.get("OVERNIGHT_CHAOS_KILLS", "30"))
    print(f"OVERNIGHT_CHAOS_SEED={seed}")  # noqa: T201 - to do the same again
    draw = random.Random(seed)
    gguf = _GGUF if kind in ("prompt-sweep", "uncertainty-sweep") else ()
    begin = ("run", str(sweeps / f"{kind}.yaml"), *gguf, "--run-id", "x")
    undisturbed, seconds = _undisturbed(real, kind, begin)
    n_rows = len(real.command.journal_rows("undisturbed"))
    killed: list[str] = []
    while len(killed) < n_kills:
        killed += _disturbed(real, begin, min(5, n_kills - len(killed)), draw, n_rows, seconds)
        _check(real, undisturbed)
        shutil.rmtree(real.command.run_folder("x"))
    print(f"killed: {killed}")  # noqa: T201
