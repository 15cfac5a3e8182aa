import http.server
import threading

import pytest

from deployments.slurm.commands import missing_commands, without_a_job
from deployments.slurm.node import what_is_wrong
from overnight.processes import free_port


def test_an_address_that_only_its_own_machine_knows_is_told_apart() -> None:
    # On a login node it works, on a compute node nothing answers there.
    problem = what_is_wrong(f"http://127.0.0.1:{free_port()}/api")
    assert problem is not None
    assert "every machine's own" in problem
    assert "--host 0.0.0.0" in problem


def test_a_server_that_cannot_be_reached_is_named() -> None:
    problem = what_is_wrong("http://no-such-host.invalid:4200/api")
    assert problem is not None
    assert "http://no-such-host.invalid:4200/api" in problem
    assert "\n" not in problem


def test_no_address_at_all_is_said_so() -> None:
    assert what_is_wrong(None) == "PREFECT_API_URL is not set; set it where the worker is started"


@pytest.mark.parametrize("status", [200, 401])
def test_a_server_that_answers_is_left_to_prefects_client(status: int) -> None:
    class Api(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        assert what_is_wrong(f"http://127.0.0.1:{server.server_port}/api") is None
        server.shutdown()
        thread.join()


def test_commands_that_are_not_here_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert missing_commands() == (
        "found no sbatch, squeue, scancel on this machine, wanted SLURM's commands; start the worker of this pool on a "
        "login node of the cluster"
    )


def test_a_worker_in_a_job_of_its_own_does_not_hand_that_job_on() -> None:
    # sbatch reads SLURM_MEM_PER_NODE and its like as requests.
    here = {
        "SLURM_JOB_ID": "1",
        "SLURM_CONF": "/etc/slurm.conf",
        "SLURM_MEM_PER_NODE": "100",
        "HOME": "/root",
    }
    assert without_a_job(here) == {"SLURM_CONF": "/etc/slurm.conf", "HOME": "/root"}
