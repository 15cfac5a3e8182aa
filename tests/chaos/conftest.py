"""Runs that are disturbed: hundreds of small ones in forks of one process, and real ones end to end."""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from overnight.engines.holding import host_settings
from overnight.engines.host import EngineHost
from overnight.processes import end_child
from overnight.spec.config_root import ConfigRoot
from overnight.spec.execution import Execution
from tests.chaos.faults import Order
from tests.chaos.settled import names, scratch, settled, what_is_wrong
from tests.chaos.sweeps import KINDS, write_sweeps

_RANDOM = [
    (re.compile(r"\d{8}T\d{6}-[^/]*?-\d+-[0-9a-f]{8}"), "WRITER"),
    (re.compile(r"(\.[^/]+)\.[^/.]+-\d+-[a-z0-9_]{8}\.part"), r"\1.part"),
    (re.compile(r"/\.[0-9a-f]{8}-[a-z0-9_]{8}/"), "/BUILT/"),
    (re.compile(r"\d{8}T\d{6}\.\d+-[0-9a-f]{8}"), "TIME"),
]


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    code: int  # -9: it was killed
    said: str
    n_operations: int | None  # on files, as far as they were watched


@dataclass(frozen=True)
class Forks:
    """The command line in forks of one process; see ``forks.py``."""

    process: "subprocess.Popen[str]"
    sweeps: Path
    engines: Path

    def __call__(
        self, folder: Path, *arguments: str, faults: Order | None = None, cache: Path | None = None
    ) -> Outcome:
        """Run a command in a folder that has temporary files and, unless it is named, a cache of its own."""
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        order = {
            "arguments": arguments,
            "folder": str(folder),
            "environment": {
                "TMPDIR": str(folder / "tmp"),
                "OVERNIGHT_CACHE_DIR": str(cache or folder / "cache"),
                "OVERNIGHT_STATE_DIR": str(folder / "state"),
                "OVERNIGHT_CHAOS_LENT": str(self.engines),
                "COLUMNS": "160",
            },
            "faults": faults and asdict(faults),
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return Outcome(**json.loads(self.process.stdout.readline()))

    def begin_or_go_on(
        self, folder: Path, kind: str, faults: Order | None = None, cache: Path | None = None
    ) -> Outcome:
        """Begin the run of a folder, or go on with it where it has begun."""
        if (folder / "experiments" / "run_x" / "manifest.json").exists():
            return self(folder, "resume", "x", faults=faults, cache=cache)
        begin = ("run", str(self.sweeps / f"{kind}.yaml"), "--run-id", "x")
        return self(folder, *begin, faults=faults, cache=cache)


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody disturbed, and all that it did to files."""

    kind: str
    tables: dict[str, Any]
    names: set[str]
    operations: list[tuple[str, str]]  # what, and to which file, with every random name taken out
    folder: Path

    def differences(self, folder: Path) -> list[str]:
        """Return what is different, wrong or left over in the folder of a run that was disturbed and has ended."""
        run = folder / "experiments" / "run_x"
        tables, found = settled(run), names(run)
        different = [f"{name} is another" for name in self.tables if tables.get(name) != self.tables[name]]
        different += [f"{name} is there in one of them" for name in sorted(self.names ^ found)]
        return different + what_is_wrong(run) + scratch(folder)


def watched(folder: Path, **order: Any) -> Order:
    """Return an order for what a command does to its runs and its cache."""
    return Order(below=(str(folder / "experiments"), str(folder / "cache")), **order)


@pytest.fixture(scope="session")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ``<kind>.yaml`` for each kind of experiment."""
    pytest.importorskip("torch")
    return write_sweeps(tmp_path_factory.mktemp("sweeps"))


@pytest.fixture(scope="session")
def engines(sweeps: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder of the state of a host that serves the tiny model."""
    folder = tmp_path_factory.mktemp("lent")
    execution = Execution.model_validate({"engine": {"batch_invariant": True, "threads": 1}})
    model = ConfigRoot(sweeps).model("tiny")
    with EngineHost(host_settings(model, sweeps / "tiny", 512, execution), folder, "tiny") as host:
        host.start()
        yield folder


@pytest.fixture(scope="session")
def forks(sweeps: Path, engines: Path) -> Iterator[Forks]:
    """Return the command line in forks of a process."""
    with _forking(sweeps, engines) as found:
        yield found


@pytest.fixture(scope="session")
def other_forks(sweeps: Path, engines: Path) -> Iterator[Forks]:
    """Return the command line in forks of another process, to be used at the same time."""
    with _forking(sweeps, engines) as found:
        yield found


@contextlib.contextmanager
def _forking(sweeps: Path, engines: Path) -> Iterator[Forks]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.forks"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    try:
        yield Forks(process, sweeps, engines)
    finally:
        end_child(process)


@pytest.fixture(scope="session", params=KINDS)
def undisturbed(
    request: pytest.FixtureRequest, forks: Forks, tmp_path_factory: pytest.TempPathFactory
) -> Undisturbed:
    """Return a run of each kind that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    log = folder / "operations.tsv"
    outcome = forks.begin_or_go_on(folder, request.param, watched(folder, log=str(log)))
    assert outcome.code == 0, outcome.said
    run = folder / "experiments" / "run_x"
    operations = []
    for line in log.read_text().splitlines():
        _, _, what, place = line.split("\t")
        place = place.removeprefix(str(folder.resolve()))
        for pattern, word in _RANDOM:
            place = pattern.sub(word, place)
        operations.append((what, place))
    found = Undisturbed(request.param, settled(run), names(run), operations, folder)
    assert found.differences(folder) == []
    return found
