"""The main job with nothing mocked: the real engine, the real model, real Prefect, a few items."""

import csv
import json
import os
import shutil
import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import httpx
import psutil
import pytest

from overnight.ids import file_digest, text_digest
from overnight.spec.prompt_sweep import Analysis
from tests.e2e.conftest import AUDITED

N_REQUESTS = 2 * 4 * 2 * 2  # trials x items x arms x temperatures
ANALYSES = get_args(Analysis)


@pytest.fixture(scope="session")
def undisturbed_run(command_line, config) -> Path:
    """Return the folder of a run that nobody interrupted."""
    command_line("run", config, "--run-id", "undisturbed")
    return command_line.run_folder("undisturbed")


@pytest.fixture(scope="session")
def undisturbed(undisturbed_run, tables_of) -> dict[str, bytes]:
    found = tables_of(undisturbed_run)
    assert len(found) == 2 * 3  # trials x tables
    return found


def test_a_run_without_a_server_leaves_the_whole_run_folder(overnight_alone, config) -> None:
    analysed = ("--set", f"experiment.statistics.analyses=[{', '.join(ANALYSES)}]")
    out = overnight_alone("run", config, "--run-id", "alone", *AUDITED, *analysed)
    run = overnight_alone.run_folder("alone")
    manifest = overnight_alone.manifest("alone")
    assert "experiments/run_alone/aggregate_report.md" in out

    for name in (
        "plan.json",
        "effective_config.yaml",
        "overrides.json",
        "aggregate_report.md",
        "report.html",
    ):
        assert (run / name).stat().st_size > 0, name
    assert (run / "summary.csv").read_text().startswith("trial,") or "trial" in _header(run / "summary.csv")
    assert {path.name for path in (run / "items").iterdir()} == {
        "facts.jsonl",
        "passages.jsonl",
        "preparation.json",
    }

    # One model, one load, whatever the number of its trials.
    assert {name: block["loads"] for name, block in manifest["blocks"].items()} == {
        "smollm2-135m-instruct-q4_1": 1
    }
    assert len(manifest["trials"]) == 2
    for slug, record in manifest["trials"].items():
        assert record["state"] == "done"
        assert record["counts"] == {
            "expected": 16,
            "done": 16,
            "errors": 0,
            "truncated": record["counts"]["truncated"],
            "cache_hits": 0,
            "sent": 16,
            "generated_tokens": record["counts"]["generated_tokens"],
        }
        assert 16 <= record["counts"]["generated_tokens"] <= 16 * 8
        for name in (
            "results/generations.jsonl",
            "results/predictions.csv",
            "results/per_item_scores.csv",
            "results/significance.json",
            "results/costs.json",
            *(f"results/{name}.json" for name in ANALYSES),
            "reports/report.md",
        ):
            sealed = record["artifacts"][f"{slug}/{name}"]
            assert file_digest(run / slug / name) == sealed["sha256"], name
        assert len(_rows(run / slug / "results" / "predictions.csv")) == 16
        assert len(_rows(run / slug / "results" / "per_item_scores.csv")) == 16  # one draw an item and arm
        assert sorted((run / slug / "results" / "parts").iterdir())
        audited = json.loads((run / slug / "results" / "audit.json").read_text())
        assert (audited["state"], audited["n_draws"], audited["n_chosen"]) == ("complete", 16, 4)
    assert not list(run.glob("engines/*.json"))  # the hosts are gone
    assert not list(run.rglob("*.part"))  # no scratch files


def test_every_row_says_what_was_sent_and_it_is_what_its_trial_asks_for(overnight, config) -> None:
    narrow = ("--prompt-sets", "terse", "--limit-items", "2")
    overnight("run", config, "--run-id", "sent", "--top-p", "1.0,0.9", *narrow)
    run = overnight.run_folder("sent")
    plan = json.loads((run / "plan.json").read_text())
    trials = {trial["slug"]: trial for block in plan["blocks"] for trial in block["trials"]}
    assert len(trials) == 2
    rows = overnight.journal_rows("sent")
    assert len(rows) == N_REQUESTS // 2
    for row in rows:
        trial = trials[row["trial"]]
        _, _, condition, temperature, _, kind = row["custom_id"].split("|")
        assert row["sent"]["temperature"] == float(temperature)
        assert row["sent"]["top_p"] == trial["top_p"]
        assert row["sent"]["top_k"] == trial["top_k"] == 40
        assert row["sent"]["max_tokens"] == trial["max_new_tokens"][kind]
        assert row["sent"]["stop"] == trial["stop"]
        assert row["prompts"]["system"] == trial["prompt_digests"][condition]
        assert row["model_digest"] == trial["model_digest"]
    # And the requests that were written down before hold the same prompts.
    built = {
        (path.parent.name, request["custom_id"]): request["body"]
        for path in run.glob("batch_inputs/*/*.jsonl")
        for request in map(json.loads, path.read_text().splitlines())
    }
    for row in rows:
        body = built[row["trial"], row["custom_id"]]
        assert row["prompts"] == {m["role"]: text_digest(m["content"]) for m in body["messages"]}
        assert row["sent"]["seed"] == body["seed"]


def test_killed_at_any_moment_a_run_goes_on_and_ends_with_the_same_tables(
    overnight, config, undisturbed, tables_of, kill
) -> None:
    # One run, killed with its first row, inside its first trial and inside its second one.
    asked: Counter[str] = Counter()
    process = overnight.start("run", config, "--run-id", "killed", *AUDITED)
    for n_rows in (1, 9, 20):
        overnight.wait_for_rows("killed", max(n_rows, len(asked) + 1), process)
        kill(process)
        before = _asked(overnight, "killed")
        assert asked < before
        assert len(before) < N_REQUESTS
        if n_rows == 1:
            assert "interrupted" in overnight("show", "killed")
        asked = before
        process = overnight.start("resume", "killed", "--max-concurrent-jobs", "2")
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, out + err
    after = _asked(overnight, "killed")
    assert asked <= after
    assert len(after) == N_REQUESTS
    assert set(after.values()) == {1}  # none was asked twice
    # At every temperature, since seeds belong to draws and answers do not depend on the batch.
    assert tables_of(overnight.run_folder("killed")) == undisturbed


@dataclass(frozen=True, kw_only=True)
class Restarted:
    """A run whose engine was killed, and what was said to others while it went on."""

    to_a_second_resume: str
    to_whoever_lists: str
    returncode: int
    said: str


@pytest.fixture(scope="module")
def restarted(command_line, config) -> Restarted:
    process = command_line.start("run", config, "--run-id", "enginekill")
    command_line.wait_for_rows("enginekill", 6, process)
    (state,) = command_line.run_folder("enginekill").glob("engines/*.json")
    os.kill(json.loads(state.read_text())["pid"], signal.SIGKILL)
    # The engine is loaded again, and most requests are still to be asked.
    refused = command_line("resume", "enginekill", expect=2)
    listed = command_line("list")
    out, err = process.communicate(timeout=300)
    return Restarted(
        to_a_second_resume=refused,
        to_whoever_lists=listed,
        returncode=process.returncode,
        said=out + err,
    )


def test_an_engine_killed_in_mid_trial_costs_nothing_but_a_restart(
    command_line, restarted, undisturbed, tables_of
) -> None:
    assert restarted.returncode == 0, restarted.said
    (block,) = command_line.manifest("enginekill")["blocks"].values()
    assert (block["loads"], block["restarts"]) == (2, 1)
    assert all(row["status"] == "ok" for row in command_line.journal_rows("enginekill"))
    assert tables_of(command_line.run_folder("enginekill")) == undisturbed


def test_two_processes_cannot_work_on_one_run(restarted) -> None:
    assert "worked on by another process" in restarted.to_a_second_resume
    assert "enginekill" in restarted.to_whoever_lists


def test_a_stopped_run_ends_with_130_and_goes_on(overnight, config, undisturbed, tables_of) -> None:
    # One run, stopped by the command and, gone on, by Ctrl-C. One request at a time: a command takes its time.
    process = overnight.start("run", config, "--run-id", "stopped", "--max-concurrent-jobs", "1")
    n_rows = 0
    for way in ("stop command", "ctrl-c"):
        overnight.wait_for_rows("stopped", n_rows + 2, process)
        if way == "ctrl-c":
            os.killpg(process.pid, signal.SIGINT)
        else:
            overnight("stop", "stopped")
        n_then = len(overnight.journal_rows("stopped"))
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130, out + err
        assert "overnight resume stopped" in err
        n_rows = len(overnight.journal_rows("stopped"))
        # At most three were under way, and a look at the stop file is due five times a second.
        assert n_then <= n_rows <= n_then + 12
        assert n_rows < N_REQUESTS
        assert overnight.manifest("stopped")["state"] == "stopped"
        assert not [
            p
            for p in psutil.process_iter(["cmdline"])
            if str(overnight.folder) in " ".join(p.info["cmdline"] or [])
        ]
        process = overnight.start("resume", "stopped", "--max-concurrent-jobs", "3")
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, out + err
    assert tables_of(overnight.run_folder("stopped")) == undisturbed


def test_inference_can_end_before_the_tables_begin_and_they_need_no_engine(
    overnight, config, undisturbed, tables_of
) -> None:
    overnight("run", config, "--run-id", "staged", "--to-step", "poll")
    run = overnight.run_folder("staged")
    assert len(overnight.journal_rows("staged")) == N_REQUESTS
    assert not tables_of(run)
    assert overnight.manifest("staged")["state"] == "partial"

    overnight("resume", "staged", "--from-step", "parse")
    assert tables_of(run) == undisturbed
    (block,) = overnight.manifest("staged")["blocks"].values()
    assert block["loads"] == 1
    assert overnight.manifest("staged")["state"] == "done"


def test_a_finished_trial_is_not_done_again_unless_a_file_of_it_was_changed(
    overnight, undisturbed_run, undisturbed, tables_of
) -> None:
    run = overnight.run_folder("undisturbed")
    shutil.copytree(undisturbed_run, run)
    journals = {path: path.stat().st_mtime_ns for path in run.glob("*/results/generations.jsonl")}
    edited = sorted(run.glob("*/results/predictions.csv"))[0]
    edited.write_text(edited.read_text().replace("stop", "STOP"))

    overnight("resume", "undisturbed")
    assert {path: path.stat().st_mtime_ns for path in journals} == journals
    assert tables_of(run) == undisturbed
    (block,) = overnight.manifest("undisturbed")["blocks"].values()
    assert block["loads"] == 1


def test_a_request_is_sent_once_whatever_trial_or_run_asks_it(
    reusing, config, undisturbed, tables_of
) -> None:
    reusing("run", config, "--run-id", "first")
    counts = [trial["counts"] for trial in reusing.manifest("first")["trials"].values()]
    # Two trials with one control arm: three arms of four are sent.
    assert sum(each["sent"] for each in counts) == N_REQUESTS * 3 // 4
    assert sum(each["cache_hits"] for each in counts) == N_REQUESTS // 4
    assert tables_of(reusing.run_folder("first")) == undisturbed

    reusing("run", config, "--run-id", "second", "--max-concurrent-jobs", "1")
    manifest = reusing.manifest("second")
    assert [block["loads"] for block in manifest["blocks"].values()] == [0]
    for trial in manifest["trials"].values():
        assert trial["state"] == "done"
        assert trial["counts"]["cache_hits"] == trial["counts"]["done"] == N_REQUESTS // 2
        assert trial["counts"]["sent"] == 0
        assert trial["timings"]["inference_s"] is None
    assert tables_of(reusing.run_folder("second")) == undisturbed

    assert "all of them what was written" in reusing("cache", "verify")
    reusing("cache", "clear", "requests", "--yes")
    reusing("run", config, "--run-id", "third", "--prompt-sets", "terse", "--limit-items", "2")
    (trial,) = reusing.manifest("third")["trials"].values()
    assert (trial["counts"]["sent"], trial["counts"]["cache_hits"]) == (N_REQUESTS // 4, 0)


def test_the_graph_shows_the_run_its_trials_and_their_tasks(command_line, undisturbed_run, api) -> None:
    runs = _post(api, "flow_runs/filter", {"flow_runs": {"name": {"any_": ["undisturbed"]}}})
    parent = min(runs, key=lambda run: run["start_time"])  # a copy of the run is resumed by another test
    assert parent["state"]["type"] == "COMPLETED"
    children = _post(api, "flow_runs/filter", {"flow_runs": {"parent_flow_run_id": {"any_": [parent["id"]]}}})
    slugs = set(command_line.manifest("undisturbed")["trials"])
    assert {child["name"] for child in children} == slugs
    for child in children:
        tasks = _post(api, "task_runs/filter", {"flow_runs": {"id": {"any_": [child["id"]]}}})
        names = {task["name"].rsplit("-", 1)[0] for task in tasks}
        assert {"build-requests", "generate", "parse", "score", "costs"} <= names
    own = _post(api, "task_runs/filter", {"flow_runs": {"id": {"any_": [parent["id"]]}}})
    assert {"prepare-items", "compare-arms", "write-reports"} <= {t["name"].rsplit("-", 1)[0] for t in own}
    artifacts = _post(api, "artifacts/filter", {})
    assert {"trial-progress", "prompt-sweep-report"} <= {artifact["key"] for artifact in artifacts}


def test_the_module_takes_the_same_arguments(overnight, config) -> None:
    import subprocess
    import sys

    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "flows.prompt_sweep",
            config,
            "--limit_items",
            "2",
            "--dry_run",
            "--run_id",
            "module",
        ],
        cwd=overnight.folder,
        env=overnight.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert overnight.manifest("module")["state"] == "done"


def _asked(overnight, run_id: str) -> Counter[str]:
    return Counter(row["custom_id"] + row["trial"] for row in overnight.journal_rows(run_id))


def _post(api: str, path: str, body: dict) -> list[dict]:
    response = httpx.post(f"{api}/{path}", json=body, timeout=30)
    response.raise_for_status()
    return response.json()


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _header(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return next(csv.reader(file))
