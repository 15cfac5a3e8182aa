"""Deployments as a user has them: a real server, a real worker, runs that somebody starts, cancels, kills."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

_WAIT_S = 600.0
_PREFECT = [sys.executable, "-m", "prefect"]
_ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
QUICKSTART = "prompt-sweep/quickstart"
# One trial with the real engine and the real model: what is tested is what happens around them.
SMALL = {
    "experiment.limit_items": 12,
    "experiment.sweep.prompt_sets": ["short_answer"],
    "experiment.sweep.temps": [0.0],
    "experiment.defaults.max_new_tokens": {"closed": 12, "open": 12},
    "experiment.statistics.analyses": [],
    "execution.request_cache": False,
    "execution.engine.threads": 1,
    "execution.audit.share": 0,
}
ONE_AT_A_TIME = SMALL | {"execution.max_concurrent_requests": 1}
N_DRAWS = 24
REHEARSED = SMALL | {"experiment.dry_run": True}


@dataclass
class Night:
    """A server with our deployments, and a worker that is somewhere else than they are, as services are."""

    command_line: Any
    api: str
    elsewhere: Path
    hook: Any
    worker: "subprocess.Popen[bytes] | None" = None

    def start_worker(self) -> None:
        settings = {
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            "OVERNIGHT_NOTIFY_URL": f"http://127.0.0.1:{self.hook.server_port}",
        }
        self.worker = subprocess.Popen(
            [*_PREFECT, "worker", "start", "--pool", "local-gpu", "--type", "process"],
            cwd=self.elsewhere,
            env=self.command_line.environment | settings,
            start_new_session=True,
        )

    def kill_worker(self) -> None:
        """SIGKILL the worker and what it has started, engines aside: they end by themselves."""
        assert self.worker is not None
        parent = psutil.Process(self.worker.pid)
        for member in [parent, *parent.children(recursive=True)]:
            if member.is_running() and "engines" not in " ".join(member.cmdline()):
                member.kill()
        self.worker.wait()

    def start(self, deployment: str, run_id: str, changes: dict[str, Any], **run: Any) -> str:
        """Have a run begin; return the id of its flow run."""
        found = httpx.get(f"{self.api}/deployments/name/{deployment}").raise_for_status().json()
        parameters = {"sweep": "quickstart", "changes": changes, "run": {"run_id": run_id, **run}}
        return str(self.post(f"deployments/{found['id']}/create_flow_run", parameters=parameters)["id"])

    def post(self, what: str, **value: Any) -> Any:
        """Ask the server as its own client does: again where its database is busy."""
        for _ in range(20):
            answer = httpx.post(f"{self.api}/{what}", json=value, timeout=60)
            if answer.status_code != 503:
                break
            time.sleep(1)
        return answer.raise_for_status().json()

    def flow_run(self, flow_run: str) -> dict[str, Any]:
        return dict(httpx.get(f"{self.api}/flow_runs/{flow_run}").raise_for_status().json())

    def end_of(self, flow_run: str) -> dict[str, Any]:
        """Wait until a flow run has ended, and return it."""
        deadline = time.monotonic() + _WAIT_S
        while (found := self.flow_run(flow_run))["state"]["type"] not in _ENDED:
            assert time.monotonic() < deadline, found["state"]
            time.sleep(0.3)
        return found

    def wait_for_rows(self, run_id: str, n_rows: int) -> None:
        deadline = time.monotonic() + _WAIT_S
        while len(self.command_line.journal_rows(run_id)) < n_rows:
            assert time.monotonic() < deadline, "no rows arrived in time"
            time.sleep(0.05)

    def engine_of(self, run_id: str) -> psutil.Process:
        (state,) = (self.command_line.run_folder(run_id) / "engines").glob("*.json")
        return psutil.Process(json.loads(state.read_text())["pid"])

    def go_on_with(self, run_id: str) -> list[dict[str, Any]]:
        """Have a run go on to its end, and return the rows of its journals."""
        ended = self.end_of(self.start(QUICKSTART, run_id, SMALL, resume=True))
        assert ended["state"]["type"] == "COMPLETED", ended["state"]
        assert self.command_line.manifest(run_id)["state"] == "done"
        assert (self.command_line.run_folder(run_id) / "report.html").is_file()
        return list(self.command_line.journal_rows(run_id))


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def hook() -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hook)
    server.got = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def night(command_line, api, tmp_path_factory, hook) -> Iterator[Night]:
    command_line = replace(command_line, folder=tmp_path_factory.mktemp("nights"))
    command_line("deploy")
    night = Night(command_line, api, tmp_path_factory.mktemp("elsewhere"), hook)
    night.start_worker()
    yield night
    night.kill_worker()


def test_deploying_again_changes_nothing(night: Night) -> None:
    lines = night.command_line("deploy").splitlines()
    assert {line.split()[0] for line in lines[:-1]} == {"unchanged"}
    assert "unchanged deployment trait-capture/overnight" in lines


def test_a_run_is_started_by_name_cancelled_from_the_api_and_gone_on_with(night: Night) -> None:
    # As a person does: `prefect deployment run` with what is to be different.
    changes, run = f"changes={json.dumps(ONE_AT_A_TIME)}", 'run={"run_id": "cut"}'
    subprocess.run(
        [*_PREFECT, "deployment", "run", QUICKSTART, "--flow-run-name", "cut", "-p", changes, "-p", run],
        env=night.command_line.environment,
        check=True,
    )
    (started,) = night.post("flow_runs/filter", flow_runs={"name": {"any_": ["cut"]}})
    night.wait_for_rows("cut", 1)
    engine = night.engine_of("cut")
    night.post(f"flow_runs/{started['id']}/set_state", state={"type": "CANCELLING"})
    assert night.end_of(started["id"])["state"]["type"] == "CANCELLED"
    engine.wait(60)
    manifest = night.command_line.manifest("cut")
    assert manifest["state"] == "stopped"
    assert [trial["state"] for trial in manifest["trials"].values()] == ["stopped"]
    assert len(night.command_line.journal_rows("cut")) < N_DRAWS

    rows = night.go_on_with("cut")
    assert len(rows) == len({row["custom_id"] for row in rows}) == N_DRAWS  # none lost, none twice
    overrides = json.loads((night.command_line.run_folder("cut") / "overrides.json").read_text())
    assert {each["key"]: each["new"] for each in overrides}["execution.max_concurrent_requests"] == 1
    told = [news for news in night.hook.got if news["run_id"] == "cut"]
    assert [news["state"] for news in told] == ["done"]  # who cancels a run needs no news of that
    assert told[0]["report"] == str(night.command_line.run_folder("cut") / "aggregate_report.md")
    assert told[0]["summary"]


def test_parameters_that_make_no_sweep_end_the_run_with_one_line(night: Night) -> None:
    misspelt = night.start(QUICKSTART, "misspelt", {"experiment.limit_itms": 3})
    state = night.end_of(misspelt)["state"]
    assert state["type"] == "FAILED"
    assert "unknown key 'experiment.limit_itms'; did you mean 'limit_items'?" in state["message"]
    # What the form can know, the server refuses before there is a run.
    with pytest.raises(httpx.HTTPStatusError, match=r"409|422"):
        night.start(QUICKSTART, "misspelt", {}, reusme=True)


@pytest.mark.slow
def test_two_runs_of_one_deployment_never_overlap(night: Night) -> None:
    runs = [night.start(QUICKSTART, f"queued{n}", REHEARSED) for n in range(2)]
    first, second = sorted((night.end_of(run) for run in runs), key=lambda run: run["start_time"])
    assert [first["state"]["type"], second["state"]["type"]] == ["COMPLETED"] * 2
    assert first["end_time"] <= second["start_time"]


@pytest.mark.slow
def test_a_worker_that_is_killed_gives_its_place_back_and_its_run_goes_on(night: Night) -> None:
    # Ten minutes of silence are a crash; here one will do.
    (automation,) = night.post("automations/filter")
    trigger = automation["trigger"] | {"within": 60}
    changed = {key: automation[key] for key in ("name", "description", "enabled", "actions")}
    httpx.put(
        f"{night.api}/automations/{automation['id']}", json=changed | {"trigger": trigger}
    ).raise_for_status()
    killed = night.start(QUICKSTART, "killed", ONE_AT_A_TIME)
    night.wait_for_rows("killed", 1)
    time.sleep(35)  # a sign of life was given
    engine = night.engine_of("killed")
    night.kill_worker()
    engine.wait(60)
    n_rows = len(night.command_line.journal_rows("killed"))
    assert night.flow_run(killed)["state"]["type"] == "RUNNING"

    night.start_worker()
    ended = night.end_of(killed)["state"]
    assert (ended["type"], ended["message"].split(";")[0]) == ("CRASHED", "no sign of life for 10 minutes")
    rows = night.go_on_with("killed")
    assert len(rows) == len({row["custom_id"] for row in rows}) == N_DRAWS
    assert n_rows >= 1
