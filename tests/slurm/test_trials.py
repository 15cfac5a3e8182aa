"""Trials as jobs, and runs that go on after they were taken away: on a real SLURM, with answers that take a while."""

import json
from collections import Counter

import pytest

pytestmark = pytest.mark.slurm

SWEEP = "config/sweeps/night.yaml"
JOBS = json.dumps({"num_cpus": 1, "num_gpus": 0})
ON_CLUSTER = ("--set", "execution.pool=cluster", "--set", f"execution.job_variables={JOBS}")
N_ROWS = 80  # two trials, 20 items, two arms


def once_each(rows) -> bool:
    """True where every draw of every trial stands in a journal once."""
    return set(Counter((row["trial"], row["custom_id"]) for row in rows).values()) == {1}


def has_begun(site, run_id) -> bool:
    return site.run_folder(run_id).is_dir() and len(site.rows(run_id)) > 5


def states(manifest, model) -> set[str]:
    return {trial["state"] for slug, trial in manifest["trials"].items() if slug.startswith(model)}


def test_trials_are_jobs_a_model_each_and_one_that_fails_fails_alone(site) -> None:
    both = ("--set", "experiment.sweep.models=[slow, broken]")
    said = site.overnight("run", SWEEP, "--run-id", "fanned", *both, *ON_CLUSTER, expect=1)
    assert "2 of 4 trials failed" in said
    manifest = site.manifest("fanned")
    assert (states(manifest, "slow"), states(manifest, "broken")) == ({"done"}, {"failed"})
    assert (site.run_folder("fanned") / "report.html").is_file()
    jobs = site.runs_named("slow", "broken")
    assert {name: job["state_name"] for name, job in jobs.items()} == {
        "slow": "Completed",
        "broken": "Failed",
    }
    assert all(job["infrastructure_pid"] for job in jobs.values())
    # Children of the run, whose graph shows them; the trials are theirs in turn.
    assert all(job["parent_task_run_id"] for job in jobs.values())
    assert len(site.children(jobs["slow"]["id"])) == 2


def test_a_job_that_dies_takes_its_trials_with_it_and_resume_finishes_them(site) -> None:
    with site.overnight_beside("run", SWEEP, "--run-id", "bereft", *ON_CLUSTER, expect=1):
        site.until(lambda: has_begun(site, "bereft"), lambda: "no rows")
        job = site.runs_named("slow")["slow"]
        site.cluster.kill_job(job["infrastructure_pid"])
    manifest = site.manifest("bereft")
    assert states(manifest, "slow") == {"failed"}
    reasons = {trial["error"] for trial in manifest["trials"].values()}
    assert any("the job of slow is Crashed" in reason for reason in reasons), reasons
    site.overnight("resume", "bereft")
    rows = site.rows("bereft")
    assert len(rows) == N_ROWS
    assert once_each(rows)
    assert states(site.manifest("bereft"), "slow") == {"done"}


def test_stopping_a_run_ends_its_jobs(site) -> None:
    with site.overnight_beside("run", SWEEP, "--run-id", "stopped", *ON_CLUSTER, expect=130):
        site.until(lambda: has_begun(site, "stopped"), lambda: "no rows")
        site.overnight("stop", "stopped")
    job = site.wait(site.runs_named("slow")["slow"]["id"])
    assert job["state_name"] == "Cancelled"
    assert "stopped" in states(site.manifest("stopped"), "slow")
    assert once_each(site.rows("stopped"))


def test_a_sweep_that_is_put_back_into_the_queue_goes_on_with_its_own_run(site) -> None:
    # Its parameters name no run, and say nothing of going on.
    flow_run = site.start("prompt-sweep/night", {"sweep": "night"}, requeue=True)
    folder = site.folder / "experiments"
    site.wait(flow_run, "Running")
    note = folder / ".flow_runs" / flow_run
    site.until(note.is_file, lambda: site.logs(flow_run))
    run_id = note.read_text().strip()
    site.until(lambda: has_begun(site, run_id), lambda: site.logs(flow_run))
    site.cluster.call("scontrol", "requeue", site.run(flow_run)["infrastructure_pid"])
    n_before = len(list(folder.glob("run_*")))
    site.wait(flow_run, "Requeued")
    assert site.wait(flow_run)["state_name"] == "Completed", site.logs(flow_run)
    rows = site.rows(run_id)
    assert len(rows) == N_ROWS
    assert once_each(rows)
    assert site.manifest(run_id)["state"] == "done"
    assert len(list(folder.glob("run_*"))) == n_before


def test_a_folder_that_is_not_shared_is_named_and_so_is_the_node(site) -> None:
    parameters = {"run_dir": "/only/here/run_x", "model": "slow", "steps": {}}
    run = site.wait(site.start("block/cluster", parameters))
    assert run["state_name"] == "Failed"
    assert "/only/here/run_x: found no run there on" in run["state"]["message"]
    assert "--experiments-dir" in run["state"]["message"]


def test_a_pool_or_a_variable_that_is_not_there_ends_the_run_before_any_job(site) -> None:
    said = site.overnight("run", SWEEP, "--run-id", "a", "--set", "execution.pool=clutser", expect=2)
    assert "found no work pool clutser" in said
    wrong = ("--set", "execution.job_variables={gpus: 2}")
    said = site.overnight("run", SWEEP, "--run-id", "b", *ON_CLUSTER[:2], *wrong, expect=2)
    assert "execution.job_variables: found gpus, wanted one of account" in said
