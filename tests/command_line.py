"""The command line as a user has it, in a process of its own, and the Prefect server that it may talk to."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from overnight.processes import free_port

_START_S = 240
_RUN_S = 900.0


@dataclass(frozen=True)
class CommandLine:
    """``overnight`` in a folder of its own.

    Runs do without the request cache, unless ``reuses_answers``: what a test interrupts or compares is then
    really generated, and not what an earlier test was answered.
    """

    folder: Path
    environment: dict[str, str]
    reuses_answers: bool = False

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command in a session of its own, as a terminal does."""
        if arguments[0] in {"run", "resume"} and not self.reuses_answers:
            arguments = (*arguments, "--no-cache")
        return subprocess.Popen(
            [sys.executable, "-m", "overnight", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *arguments: str, expect: int = 0) -> str:
        """Run a command to its end, check its exit code, and return what it printed."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=_RUN_S)
        assert process.returncode == expect, f"exit code {process.returncode}\n{out}\n{err}"
        return out if expect == 0 else err

    def run_folder(self, run_id: str) -> Path:
        return self.folder / "experiments" / f"run_{run_id}"

    def manifest(self, run_id: str) -> dict[str, Any]:
        return json.loads((self.run_folder(run_id) / "manifest.json").read_text())

    def journal_rows(self, run_id: str) -> list[dict[str, Any]]:
        """Return the whole rows of all trials' journals, also while they are being written."""
        return [
            json.loads(line)
            for journal in sorted(self.run_folder(run_id).glob("*/results/generations.jsonl"))
            for line in journal.read_bytes().split(b"\n")[:-1]
        ]

    def wait_for_rows(self, run_id: str, n_rows: int, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + _RUN_S
        while len(self.journal_rows(run_id)) < n_rows:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "no rows arrived in time"
            time.sleep(0.05)


def kill_tree(process: subprocess.Popen[str]) -> None:
    """SIGKILL a process and everything that it started, at once."""
    import psutil

    family = [psutil.Process(process.pid)]
    family += family[0].children(recursive=True)
    for member in family:
        try:
            os.kill(member.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()
    process.stdout.close()
    process.stderr.close()


def tables(run: Path) -> dict[str, bytes]:
    """Return every final table of a run, by its name in the run folder."""
    names = ("predictions.csv", "per_item_scores.csv", "significance.json")
    return {
        str(path.relative_to(run)): path.read_bytes()
        for name in names
        for path in sorted(run.glob(f"*/results/{name}"))
    }


def settings_of(home: Path, cache: Path) -> dict[str, str]:
    """Return the environment of a user who has a Prefect and a cache of their own."""
    return os.environ | {
        "PREFECT_HOME": str(home),
        "OVERNIGHT_CACHE_DIR": str(cache),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "COLUMNS": "160",
    }


@contextlib.contextmanager
def prefect_server(environment: dict[str, str], home: Path) -> Iterator[str]:
    """Give the address of a real Prefect server that keeps everything in a folder; it ends with the block."""
    port = free_port()
    environment = environment | {
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_HOME": str(home),
    }
    log = home / "server.log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start"],
            env=environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}/api"
    try:
        _wait_until_healthy(url, server, log)
        yield url
    finally:
        kill_group(server)


def kill_group(process: subprocess.Popen[Any]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_until_healthy(url: str, server: subprocess.Popen[Any], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    pytest.fail(f"no Prefect server within {_START_S} s: {log.read_text()}")
