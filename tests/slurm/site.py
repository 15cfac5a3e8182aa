"""A site as a user sets it up: a SLURM, a Prefect server, a worker on the login node, and what was deployed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.slurm.cluster import SlurmCluster

_FINAL = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}
_BUSY = 503
PATIENCE_S = 300.0


@dataclass(kw_only=True)
class Site:
    """Everything that a test needs to start flow runs on a cluster, and to look at what becomes of them."""

    folder: Path
    environment: dict[str, str]
    api: str
    cluster: SlurmCluster
    worker: subprocess.Popen[bytes] | None = None

    def start_worker(self) -> None:
        """Start the worker of the pool."""
        with (self.folder / "worker.log").open("ab") as log:
            self.worker = subprocess.Popen(
                [sys.executable, "-m", "prefect", "worker", "start", "--pool", "cluster"],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill_worker(self) -> None:
        """Take the worker away without a word."""
        if self.worker is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.worker.pid, signal.SIGKILL)
            self.worker.wait()

    def overnight(self, *arguments: str, expect: int = 0) -> str:
        """Run a command of the command line and return what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "overnight", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=4 * PATIENCE_S,
            check=False,
        )
        assert done.returncode == expect, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    @contextlib.contextmanager
    def overnight_beside(self, *arguments: str, expect: int = 0) -> Iterator[None]:
        """Run a command while the block runs, and wait for its end."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            done = pool.submit(self.overnight, *arguments, expect=expect)
            yield
            done.result()

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """Ask Prefect's API."""
        while True:
            answer = httpx.request(
                method, f"{self.api}{path}", json=body or None, timeout=60, trust_env=False
            )
            if answer.status_code != _BUSY:  # SQLite, where others write: Prefect's client asks again as well
                break
            time.sleep(1)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def start(self, deployment: str, parameters: dict[str, Any] | None = None, **job_variables: Any) -> str:
        """Start a run of a deployment and return its id."""
        found = self.ask("GET", f"/deployments/name/{deployment}")
        return self.ask(
            "POST",
            f"/deployments/{found['id']}/create_flow_run",
            parameters=parameters or {},
            job_variables={"num_cpus": 1, "num_gpus": 0} | job_variables,
        )["id"]

    def run(self, flow_run: str) -> dict[str, Any]:
        """Return a flow run as Prefect has it."""
        return self.ask("GET", f"/flow_runs/{flow_run}")

    def wait(self, flow_run: str, *names: str) -> dict[str, Any]:
        """Return a flow run once it has ended, or is in one of some states."""
        return self.until(
            lambda: (
                run
                if (run := self.run(flow_run))["state_name"] in names or run["state_type"] in _FINAL
                else None
            ),
            lambda: f"{self.run(flow_run)['state_name']}\n{self.cluster.call('squeue', '--states=all')}",
        )

    def cancel(self, flow_run: str) -> None:
        """Cancel a flow run as the button in the UI does."""
        self.ask("POST", f"/flow_runs/{flow_run}/set_state", state={"type": "CANCELLING"})

    def job_state(self, flow_run: str) -> str:
        """Return what SLURM says of the job of a flow run."""
        job_id = self.run(flow_run)["infrastructure_pid"]
        return self.cluster.call("squeue", "-h", "--states=all", "-j", job_id, "-o", "%T")

    def logs(self, flow_run: str) -> str:
        """Return what Prefect has of the logs of a flow run."""
        wanted = {"flow_run_id": {"any_": [flow_run]}}
        return "\n".join(each["message"] for each in self.ask("POST", "/logs/filter", logs=wanted, limit=200))

    def wait_for_log(self, flow_run: str, line: str) -> None:
        """Wait until Prefect has a line among the logs of a flow run, which come a little after it has ended."""
        self.until(lambda: line in self.logs(flow_run), lambda: self.logs(flow_run))

    def children(self, flow_run: str) -> list[dict[str, Any]]:
        """Return the flow runs that a flow run has started."""
        wanted = {"parent_flow_run_id": {"any_": [flow_run]}}
        return self.ask("POST", "/flow_runs/filter", flow_runs=wanted)

    def runs_named(self, *names: str) -> dict[str, dict[str, Any]]:
        """Return the newest flow run of each name, of those there are."""
        found = self.ask("POST", "/flow_runs/filter", flow_runs={"name": {"any_": list(names)}})
        return {run["name"]: run for run in sorted(found, key=lambda run: run["created"])}

    def begun(self, flow_run: str) -> None:
        """Wait until a job that waits has begun to."""
        self.wait(flow_run, "Running")
        job_id = self.run(flow_run)["infrastructure_pid"]
        self.until((self.folder / f"begun-{job_id}").exists, lambda: self.logs(flow_run))

    def run_folder(self, run_id: str) -> Path:
        """Return where a run lies."""
        return self.folder / "experiments" / f"run_{run_id}"

    def manifest(self, run_id: str) -> dict[str, Any]:
        """Return the manifest of a run."""
        return json.loads((self.run_folder(run_id) / "manifest.json").read_text())

    def rows(self, run_id: str) -> list[dict[str, Any]]:
        """Return the whole rows of all journals of a run."""
        return [
            json.loads(line)
            for journal in sorted(self.run_folder(run_id).glob("*/results/generations.jsonl"))
            for line in journal.read_bytes().split(b"\n")[:-1]
        ]

    def until(self, look: Callable[[], Any], account: Callable[[], str]) -> Any:
        """Look again and again until there is something, and return it."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := look()):
            if time.monotonic() > deadline:
                log = (self.folder / "worker.log").read_text(errors="replace")[-3000:]
                raise AssertionError(f"nothing in time: {account()}\n{log}")
            time.sleep(0.5)
        return found


def kill_tree(process: "subprocess.Popen[Any]") -> None:
    """Kill a process and all that it has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(process.pid)
        for each in [*root.children(recursive=True), root]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
    process.wait()
