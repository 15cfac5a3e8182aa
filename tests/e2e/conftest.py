"""The command line as a user has it: a process of its own, the real engine, the real model."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

_START_S = 240
_RUN_S = 900.0

# Short prompts and answers: what is tested is what happens around the model, and the model is slow. Answers are asked
# a second time, and looked at more closely, only where a test says so.
AUDITED = ("--set", "execution.audit.share=0.02")  # at least 4 draws of each trial
FILES = {
    "small.yaml": """
        kind: prompt-sweep
        name: small
        experiment:
          datasets: [facts, passages]
          limit_items: 4
          defaults: {top_k: 40, max_new_tokens: {closed: 6, open: 8}}
          sweep:
            models: [smollm2-135m-instruct-q4_1]
            prompt_sets: [terse, polite]
            temps: [0.0, 0.7]
          statistics: {analyses: []}
        execution: {max_concurrent_requests: 3, engine: {gpu_layers: 0}, audit: {share: 0}}
    """,
    "prompts/terse.yaml": "{control: control.txt, treatment: terse.txt}",
    "prompts/polite.yaml": "{control: control.txt, treatment: polite.txt}",
    "prompts/control.txt": "You answer questions.",
    "prompts/terse.txt": "You answer questions in one word.",
    "prompts/polite.txt": "You answer questions and you are always polite.",
    "datasets/facts.yaml": "{type: closed, path: facts.jsonl}",
    "datasets/facts.jsonl": """
        {"id": "sky", "question": "What colour is the sky?", "answers": ["blue"]}
        {"id": "legs", "question": "How many legs has a spider?", "answers": ["eight", "8"]}
        {"id": "wet", "question": "What is frozen water called?", "answers": ["ice"]}
    """,
    "datasets/passages.yaml": "{type: open, path: passages.jsonl}",
    "datasets/passages.jsonl": """
        {"id": "hat", "context": "Ida owns a red hat.", "question": "Who owns a hat?", "answers": ["Ida"]}
        {"id": "dog", "context": "Bo has a dog.", "question": "How old is Bo?", "answers": []}
        {"id": "tea", "context": "Tea costs 2 crowns.", "question": "What does tea cost?", "answers": ["2 crowns"]}
    """,
}


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


@pytest.fixture(scope="session")
def config(tmp_path_factory) -> str:
    """Return a sweep with prompts and questions of its own beside it, and the model that is shipped."""
    folder = tmp_path_factory.mktemp("config")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
    return str(folder / "small.yaml")


@pytest.fixture(scope="session")
def base_environment(tmp_path_factory, model_cache) -> dict[str, str]:
    home = tmp_path_factory.mktemp("prefect")
    return os.environ | {
        "PREFECT_HOME": str(home),
        "OVERNIGHT_CACHE_DIR": str(model_cache),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "COLUMNS": "160",
    }


@pytest.fixture(scope="session")
def api(base_environment, tmp_path_factory) -> Iterator[str]:
    """Return the address of a real Prefect server."""
    with _server(base_environment, tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture
def start_server(tmp_path_factory) -> Callable[[dict[str, str]], contextlib.AbstractContextManager[str]]:
    """Return what starts a Prefect server of its own in an environment, and ends it."""
    return lambda environment: _server(environment, tmp_path_factory.mktemp("server"))


@pytest.fixture
def free_port() -> Callable[[], int]:
    return _free_port


@contextlib.contextmanager
def _server(environment: dict[str, str], home: Path) -> Iterator[str]:
    port = _free_port()
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


@pytest.fixture(scope="session")
def command_line(base_environment, api, tmp_path_factory) -> CommandLine:
    """Return a command line whose runs several tests look at."""
    return CommandLine(tmp_path_factory.mktemp("shared"), base_environment | {"PREFECT_API_URL": api})


@pytest.fixture
def overnight(base_environment, api, tmp_path) -> CommandLine:
    """Return the command line, talking to a Prefect server."""
    return CommandLine(tmp_path, base_environment | {"PREFECT_API_URL": api})


@pytest.fixture
def reusing(overnight, model_cache, tmp_path) -> CommandLine:
    """Return a command line with a request cache of its own, and the user's weights."""
    cache = tmp_path / "cache"
    cache.mkdir(exist_ok=True)
    (model_cache / "models").mkdir(parents=True, exist_ok=True)
    (cache / "models").symlink_to(model_cache / "models", target_is_directory=True)
    return replace(
        overnight,
        environment=overnight.environment | {"OVERNIGHT_CACHE_DIR": str(cache)},
        reuses_answers=True,
    )


@pytest.fixture
def overnight_alone(base_environment, tmp_path) -> CommandLine:
    """Return the command line without any server."""
    environment = {key: value for key, value in base_environment.items() if key != "PREFECT_API_URL"}
    return CommandLine(tmp_path, environment)


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


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def tables_of():
    return tables


@pytest.fixture
def kill():
    return kill_tree
