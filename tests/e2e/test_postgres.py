"""Prefect's records in PostgreSQL: a real server of Debian's packages, and runs that report to it at once."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.slow

_UP = Path(__file__).parents[1] / "postgres" / "up.sh"


@pytest.fixture
def database(free_port) -> Iterator[str]:
    # Not below pytest's folder, which is closed to the user as whom PostgreSQL runs where we are root.
    folder = tempfile.mkdtemp(prefix="overnight-pg-", dir="/tmp")
    Path(folder).chmod(0o755)
    started = subprocess.run(
        [_UP, "start", folder, str(free_port())], capture_output=True, text=True, check=False
    )
    if started.returncode == 3:
        pytest.skip(started.stderr.strip())
    assert started.returncode == 0, started.stderr
    yield started.stdout.strip()
    subprocess.run([_UP, "stop", folder], check=True)
    shutil.rmtree(folder)


def test_runs_that_report_at_once_are_all_there(
    database, overnight_alone, start_server, base_environment
) -> None:
    with start_server(base_environment | {"PREFECT_SERVER_DATABASE_CONNECTION_URL": database}) as url:
        command_line = replace(
            overnight_alone, environment=overnight_alone.environment | {"PREFECT_API_URL": url}
        )
        assert "created   deployment prompt-sweep/overnight" in command_line("deploy")
        runs = [
            command_line.start("run", "quickstart", "--dry-run", "--limit-items", "8", "--run-id", f"r{n}")
            for n in range(3)
        ]
        for process in runs:
            out, err = process.communicate(timeout=600)
            assert process.returncode == 0, out + err
        found = httpx.post(f"{url}/flow_runs/filter", json={"limit": 200}).json()
        ended = {run["name"]: run["state"]["type"] for run in found if run["name"] in {"r0", "r1", "r2"}}
        assert ended == dict.fromkeys(("r0", "r1", "r2"), "COMPLETED")
        trials = [run for run in found if run["parent_task_run_id"] is not None]
        assert [run["state"]["type"] for run in trials] == ["COMPLETED"] * 9
