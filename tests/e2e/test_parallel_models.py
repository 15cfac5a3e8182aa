"""Two models at once with nothing mocked: the answers of one after the other, in one run, as its children."""

import csv
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from overnight.engines.sources import fetch
from overnight.spec.config_root import ConfigRoot, shipped_config

MODEL = """
source: {path}
family: smollm2
params_billion: 0.135
quantization: Q4_1
context_tokens: 8192
"""
NAMES = ("first", "second")


@pytest.fixture(scope="module")
def twins(config: str, model_cache: Path) -> str:
    """Return the small sweep, over one small model under two names."""
    models = Path(config).parent / "models"
    models.mkdir(exist_ok=True)
    weights = fetch(ConfigRoot(shipped_config()).model("smollm2-135m-instruct-q4_1"), model_cache)
    for name in NAMES:
        (models / f"{name}.yaml").write_text(MODEL.format(path=weights.path))
    return config


def test_models_that_are_held_at_once_answer_as_one_after_the_other(overnight, twins, tables_of) -> None:
    sweep = ["run", twins, "--models", ",".join(NAMES), "--prompt-sets", "terse", "--temps", "0"]
    sweep += ["--limit-items", "3", "--max-concurrent-jobs", "2", "--set", "execution.audit.share=0"]
    overnight(*sweep, "--run-id", "in-turn", "--set", "execution.parallel_models=1")
    overnight(*sweep, "--run-id", "at-once", "--set", "execution.parallel_models=2")

    in_turn, at_once = (tables_of(overnight.run_folder(name)) for name in ("in-turn", "at-once"))
    assert len(at_once) == 2 * 3  # trials x tables
    assert at_once == in_turn

    manifest = overnight.manifest("at-once")
    assert manifest["state"] == "done"
    blocks = [manifest["blocks"][name] for name in NAMES]
    assert [block["loads"] for block in blocks] == [1, 1]
    assert [block["beside"] for block in blocks] == [["second"], ["first"]]
    assert _overlap(blocks)
    assert not _overlap(list(overnight.manifest("in-turn")["blocks"].values()))
    plan = json.loads((overnight.run_folder("at-once") / "plan.json").read_text())
    (wave,) = plan["waves"]
    assert wave["models"] == list(NAMES)
    assert wave["needed_bytes"]["host"] > 2 * 90e6  # of weights alone each has more

    # What is known of a model's process is of its own: neither table has the other's.
    processes = [_host_rss(overnight.run_folder("at-once") / f"telemetry/{name}.csv") for name in NAMES]
    assert all(processes)
    assert all(block["peak_memory"]["own_bytes"] > 10e6 for block in blocks)
    _check_family(overnight.environment["PREFECT_API_URL"], "at-once", set(manifest["trials"]))


def _overlap(blocks: list[dict[str, Any]]) -> bool:
    """True where the last one began to load before the first one was gone."""
    begun, gone = (
        [datetime.fromisoformat(block[key]) for block in blocks] for key in ("held_from", "held_to")
    )
    return max(begun) < min(gone)


def _host_rss(path: Path) -> list[float]:
    with path.open() as file:
        return [float(row["host_rss_bytes"]) for row in csv.DictReader(file) if row["host_rss_bytes"]]


def _check_family(api: str, run_id: str, slugs: set[str]) -> None:
    """Check that every trial of a run is a child of it, under its own name, and ran once."""
    runs = httpx.post(f"{api}/flow_runs/filter", json={"limit": 200, "sort": "START_TIME_DESC"}).json()
    parent = next(run for run in runs if run["name"] == run_id)
    asked = {"limit": 200, "flow_runs": {"id": {"any_": [parent["id"]]}}}
    tasks = {task["id"] for task in httpx.post(f"{api}/task_runs/filter", json=asked).json()}
    children = [run for run in runs if run["parent_task_run_id"] in tasks]
    assert sorted(run["name"] for run in children) == sorted(slugs)
    assert {run["state"]["type"] for run in children} == {"COMPLETED"}
    assert len({run["parent_task_run_id"] for run in children}) == len(slugs)
