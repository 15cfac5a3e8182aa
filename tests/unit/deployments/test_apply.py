import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import prefect
import pytest
import yaml
from prefect.client.schemas.objects import DeploymentSchedule, Worker, WorkerStatus
from prefect.events.schemas.automations import Automation
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.apply import Change, apply
from deployments.declared import Declared, read_declared
from deployments.deploying import _worker_line, deploy_file
from flows.launching import require_answer
from overnight.errors import OvernightError, UsageError

SMALL = {
    "name": "small",
    "entrypoint": "flows.prompt_sweep.prompt_sweep",
    "description": "A small one.",
    "parameters": {"sweep": "quickstart", "run": {"experiments_dir": "runs"}},
    "tags": ["quick"],
    "work_pool": {"name": "local-gpu"},
    "schedules": [{"slug": "nightly", "cron": "0 22 * * *", "timezone": "Europe/Berlin"}],
    "concurrency_limit": {"limit": 1, "collision_strategy": "CANCEL_NEW"},
}


class Server:
    """The part of a server that is asked, kept in memory; what is sent is kept as it comes back over the wire."""

    def __init__(self) -> None:
        self.pools: dict[str, Any] = {}
        self.flows: dict[UUID, str] = {}
        self.deployments: dict[str, Any] = {}
        self.automations: dict[UUID, Any] = {}
        self.n_writes = 0

    @staticmethod
    def _read(kind: dict[str, Any], name: str) -> Any:
        if name not in kind:
            raise ObjectNotFound(Exception("404"))
        return kind[name]

    def read_work_pool(self, name: str) -> Any:
        return self._read(self.pools, name)

    def create_work_pool(self, pool: Any) -> None:
        self.n_writes += 1
        self.pools[pool.name] = SimpleNamespace(**pool.model_dump(mode="json"))

    def update_work_pool(self, name: str, pool: Any) -> None:
        self.n_writes += 1
        vars(self.pools[name]).update(pool.model_dump(mode="json", exclude_unset=True))

    def read_deployment_by_name(self, name: str) -> Any:
        return self._read(self.deployments, name)

    def read_automations_by_name(self, name: str) -> list[Any]:
        return [each for each in self.automations.values() if each.name == name]

    def create_automation(self, automation: Any) -> None:
        self.update_automation(uuid4(), automation)

    def update_automation(self, id_: UUID, automation: Any) -> None:
        self.n_writes += 1
        self.automations[id_] = Automation.model_validate(automation.model_dump(mode="json") | {"id": id_})

    def create_flow_from_name(self, name: str) -> UUID:
        self.flows[id_ := uuid4()] = name
        return id_

    def create_deployment(
        self,
        flow_id: UUID,
        name: str,
        *,
        schedules: Any,
        concurrency_limit: Any,
        concurrency_options: Any,
        **said: Any,
    ) -> None:
        self.n_writes += 1
        self.deployments[f"{self.flows[flow_id]}/{name}"] = SimpleNamespace(
            **json.loads(json.dumps(said)),
            schedules=[DeploymentSchedule(**each.model_dump()) for each in schedules],
            global_concurrency_limit=concurrency_limit and SimpleNamespace(limit=concurrency_limit),
            concurrency_options=concurrency_options,
        )


def declared(tmp_path: Path, **changes: Any) -> Declared:
    path = tmp_path / "prefect.yaml"
    path.write_text(yaml.safe_dump({"deployments": [SMALL | changes]}))
    found = read_declared(path)
    here = tuple(pool for pool in found.pools if pool.type == "process")  # of the others, see below
    return found.model_copy(update={"pools": here})


def put(declared: Declared, server: Server) -> tuple[Change, ...]:
    return apply(declared, server)  # type: ignore[arg-type]


def test_the_first_time_everything_is_made_and_the_second_time_nothing(tmp_path: Path) -> None:
    server = Server()
    assert [(c.name, c.did) for c in put(declared(tmp_path), server)] == [
        ("local-gpu", "created"),
        ("prompt-sweep/small", "created"),
        ("overnight: silent runs have crashed", "created"),
    ]
    n_writes = server.n_writes
    assert {c.did for c in put(declared(tmp_path), server)} == {"unchanged"}
    assert server.n_writes == n_writes


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("description", "Another one."),
        ("tags", ["slow"]),
        ("parameters", {"sweep": "prompt-overnight"}),
        ("schedules", []),
        ("schedules", [SMALL["schedules"][0] | {"cron": "0 23 * * *"}]),  # type: ignore[index]
        ("concurrency_limit", {"limit": 2, "collision_strategy": "CANCEL_NEW"}),
    ],
)
def test_what_was_changed_in_the_file_is_changed_on_the_server_and_named(
    tmp_path: Path, key: str, value: object
) -> None:
    server = Server()
    put(declared(tmp_path), server)
    change = put(declared(tmp_path, **{key: value}), server)[1]
    assert (change.did, change.keys) == ("updated", (key,))
    assert change.sentence() == f"updated   deployment prompt-sweep/small ({key})"
    assert {c.did for c in put(declared(tmp_path, **{key: value}), server)} == {"unchanged"}


def test_a_schedule_that_was_turned_on_stays_on(tmp_path: Path) -> None:
    server = Server()
    put(declared(tmp_path), server)
    there = server.deployments["prompt-sweep/small"]
    there.schedules = [each.model_copy(update={"active": True}) for each in there.schedules]
    assert put(declared(tmp_path), server)[1].did == "unchanged"
    put(declared(tmp_path, description="Another one."), server)
    assert [each.active for each in server.deployments["prompt-sweep/small"].schedules] == [True]


def test_a_pool_is_brought_back_to_what_the_files_say(tmp_path: Path) -> None:
    server = Server()
    put(declared(tmp_path), server)
    server.pools["local-gpu"].concurrency_limit = None
    pool, *_ = put(declared(tmp_path), server)
    assert (pool.did, pool.keys, server.pools["local-gpu"].concurrency_limit) == (
        "updated",
        ("concurrency_limit",),
        1,
    )


def test_an_automation_is_brought_back_too_and_stays_off_where_it_was_turned_off(tmp_path: Path) -> None:
    server = Server()
    put(declared(tmp_path), server)
    (id_,) = server.automations
    theirs = server.automations[id_].model_dump(mode="json") | {
        "enabled": False,
        "description": "Another one.",
    }
    server.automations[id_] = Automation.model_validate(theirs)
    change = put(declared(tmp_path), server)[-1]
    assert (change.did, change.keys) == ("updated", ("description",))
    assert [each.enabled for each in server.automations.values()] == [False]
    assert put(declared(tmp_path), server)[-1].did == "unchanged"


def test_a_pool_of_another_type_is_not_taken_for_ours(tmp_path: Path) -> None:
    server = Server()
    put(declared(tmp_path), server)
    server.pools["local-gpu"].type = "docker"
    with pytest.raises(UsageError, match="the server has one of type docker, wanted process; delete it"):
        put(declared(tmp_path), server)


def test_runs_work_in_the_folder_of_the_file_and_are_found_as_modules(tmp_path: Path) -> None:
    server = Server()
    put(declared(tmp_path), server)
    there = server.deployments["prompt-sweep/small"]
    assert there.pull_steps == [
        {"prefect.deployments.steps.set_working_directory": {"directory": str(tmp_path)}}
    ]
    assert there.entrypoint == "flows.prompt_sweep.prompt_sweep"


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = self.server.says.encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("says", "said"),
    [
        (
            '"2.20.4"',
            rf"is Prefect 2\.20\.4, wanted the version that is installed here, {prefect.__version__}; start",
        ),
        ("<html>", "is no Prefect server; PREFECT_API_URL ends with /api"),
    ],
)
def test_a_server_of_another_version_or_kind_is_named(says: str, said: str) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        server.says = says  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(OvernightError, match=said):
                require_answer(f"http://127.0.0.1:{server.server_port}/api")
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("ONLINE", "worker    here carries out the runs of local-gpu"),
        (
            "OFFLINE",
            "no worker for local-gpu: its runs wait until one is started: prefect worker start --pool local-gpu",
        ),
    ],
)
def test_whether_a_worker_is_there_is_said(status: str, said: str) -> None:
    here = Worker(name="here", work_pool_id=uuid4(), status=WorkerStatus(status))
    assert _worker_line("local-gpu", SimpleNamespace(read_workers_for_work_pool=lambda _: [here])) == said  # type: ignore[arg-type]


def test_without_a_server_it_is_said_how_to_have_one(tmp_path: Path) -> None:
    file = declared(tmp_path).file
    with (
        temporary_settings({PREFECT_API_URL: None}),
        pytest.raises(UsageError, match="no Prefect server is set; start one with `prefect server start`"),
    ):
        deploy_file(file)
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),  # the port to which nothing answers
        pytest.raises(OvernightError, match=r"no Prefect server answers at http://127\.0\.0\.1:9/api"),
    ):
        deploy_file(file)


def test_a_pool_of_jobs_comes_with_the_deployment_that_runs_start_in_it(tmp_path: Path) -> None:
    server = Server()
    cluster = read_declared(declared(tmp_path).file)
    made = [(change.kind, change.name) for change in put(cluster, server)]
    assert ("work pool", "cluster") in made
    assert ("deployment", "block/cluster") in made
    assert {change.did for change in put(cluster, server)} == {"unchanged"}
    assert server.deployments["block/cluster"].work_pool_name == "cluster"


def test_a_site_keeps_its_own_defaults_of_a_pool_of_jobs(tmp_path: Path) -> None:
    # Which partition and whose account: that is said once on the server, and a later deploy must not forget it.
    server = Server()
    cluster = read_declared(declared(tmp_path).file)
    put(cluster, server)
    template = json.loads(json.dumps(server.pools["cluster"].base_job_template))
    template["variables"]["properties"]["partition"]["default"] = "a100"
    del template["variables"]["properties"]["qos"]  # as if it were of an older version
    server.pools["cluster"].base_job_template = template
    put(cluster, server)
    properties = server.pools["cluster"].base_job_template["variables"]["properties"]
    assert properties["partition"]["default"] == "a100"
    assert "qos" in properties
    assert {change.did for change in put(cluster, server)} == {"unchanged"}
