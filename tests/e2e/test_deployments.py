import json
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow

_RUN_S = 600


def test_deploying_twice_changes_nothing_the_second_time(overnight) -> None:
    first = overnight("deploy").splitlines()
    assert any(line.startswith("created   deployment prompt-sweep/overnight") for line in first)
    again = [line for line in overnight("deploy").splitlines() if not line.startswith("runs wait")]
    assert len(again) == len([line for line in first if not line.startswith("runs wait")])
    assert {line.split()[0] for line in again} == {"unchanged"}


def test_a_deployment_is_run_by_a_worker_in_the_folder_that_was_deployed(overnight) -> None:
    # A rehearsal: what is tested is the way there and back. The worker is somewhere else, as services are.
    overnight("deploy")
    worker_folder = overnight.folder / "elsewhere"
    worker_folder.mkdir()
    prefect = [sys.executable, "-m", "prefect"]
    worker = subprocess.Popen(
        [*prefect, "worker", "start", "--pool", "local-gpu"],
        cwd=worker_folder,
        env=overnight.environment,
        start_new_session=True,
    )
    changes = {"experiment.dry_run": True, "experiment.limit_items": 8}
    try:
        subprocess.run(
            [
                *prefect,
                *("deployment", "run", "prompt-sweep/quickstart", "--watch"),
                *("-p", f"changes={json.dumps(changes)}", "-p", 'run={"run_id": "rehearsed"}'),
            ],
            cwd=worker_folder,
            env=overnight.environment,
            check=True,  # 0 is Completed
            timeout=_RUN_S,
        )
    finally:
        worker.send_signal(signal.SIGTERM)
        until = time.monotonic() + 30
        while worker.poll() is None and time.monotonic() < until:
            time.sleep(0.2)
        if worker.poll() is None:
            worker.kill()
        worker.wait()
    manifest = overnight.manifest("rehearsed")
    assert manifest["state"] == "done"
    overrides = json.loads((overnight.run_folder("rehearsed") / "overrides.json").read_text())
    assert {each["key"]: each["new"] for each in overrides} == changes
