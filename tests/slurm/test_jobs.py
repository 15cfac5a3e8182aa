"""Flow runs as jobs of a real SLURM, with a real Prefect server and a real worker."""

import pytest

pytestmark = pytest.mark.slurm


def test_a_run_is_a_job_whose_log_is_in_prefect_and_in_a_file(site) -> None:
    flow_run = site.start("small-job/cluster", num_gpus=2, job_name="a small job")
    run = site.wait(flow_run)
    assert run["state_name"] == "Completed", run["state"]
    job_id = run["infrastructure_pid"]
    # Both GPUs of the node are its own, and SLURM has told it so.
    greeting = f"hello from job {job_id} with GPUs 0,1"
    site.wait_for_log(flow_run, greeting)
    assert greeting in (site.folder / "slurm_logs" / f"{job_id}.out").read_text()
    assert site.cluster.call("squeue", "-h", "--states=all", "-j", job_id, "-o", "%j") == "a_small_job"


def test_a_run_with_a_bug_has_failed_and_not_crashed(site) -> None:
    run = site.wait(site.start("small-job/cluster", {"do": "fail"}))
    assert run["state_name"] == "Failed"
    assert "a bug" in run["state"]["message"]


def test_a_run_whose_process_is_killed_has_crashed(site) -> None:
    run = site.wait(site.start("small-job/cluster", {"do": "die"}))
    assert run["state_name"] == "Crashed"
    assert "memory" in run["state"]["message"]  # what mostly kills, in Prefect's words or in ours


def test_two_processes_of_a_job_find_each_other(site) -> None:
    flow_run = site.start("small-job/cluster", {"do": "torchrun"}, num_gpus=2)
    assert site.wait(flow_run)["state_name"] == "Completed", site.logs(flow_run)
    # 1 + 2, as each of the two says.
    site.wait_for_log(flow_run, "rank 0 of 2 sum 3 | rank 1 of 2 sum 3")


def test_cancelling_takes_a_waiting_job_out_of_the_queue(site) -> None:
    flow_run = site.start("small-job/cluster", extra_arguments=["--begin=now+1hour"])
    site.until(lambda: site.run(flow_run)["infrastructure_pid"], lambda: site.run(flow_run)["state_name"])
    assert site.job_state(flow_run) == "PENDING"
    site.cancel(flow_run)
    assert site.wait(flow_run)["state_name"] == "Cancelled"
    assert site.job_state(flow_run) == "CANCELLED"


def test_cancelling_ends_a_running_job(site) -> None:
    flow_run = site.start("small-job/cluster", {"do": "wait", "seconds": 900, "folder": str(site.folder)})
    site.begun(flow_run)
    site.cancel(flow_run)
    assert site.wait(flow_run)["state_name"] == "Cancelled"
    site.until(lambda: site.job_state(flow_run) != "RUNNING", lambda: site.job_state(flow_run))


def test_a_job_is_told_before_its_time_is_up_and_the_run_says_that_it_was(site) -> None:
    wait = {"do": "wait", "seconds": 900, "folder": str(site.folder)}
    flow_run = site.start("small-job/cluster", wait, time="1", warning_s=20)
    run = site.wait(flow_run)
    assert run["state_name"] == "Crashed"
    assert "TIMEOUT, its time was up: ask for more by `time`" in run["state"]["message"]
    log = (site.folder / "slurm_logs" / f"{run['infrastructure_pid']}.out").read_text()
    assert "SLURM says USR1" in log.replace("SIGUSR1", "USR1")
    site.wait_for_log(flow_run, "the end of the log of job")


def test_a_node_that_fails_is_noticed(site) -> None:
    flow_run = site.start(
        "small-job/cluster",
        {"do": "wait", "seconds": 900, "folder": str(site.folder)},
        extra_arguments=["--nodelist=n2"],
    )
    site.begun(flow_run)
    site.cluster.kill_node("n2")
    site.cluster.say_down("n2")
    try:
        run = site.wait(flow_run)
        assert run["state_name"] == "Crashed"
        assert "NODE_FAIL, its node failed" in run["state"]["message"]
    finally:
        site.cluster.revive("n2")


def test_a_worker_that_was_killed_is_not_missed(site) -> None:
    # What it knew it knew from SLURM: another one knows as much.
    wait = {"do": "wait", "seconds": 900, "folder": str(site.folder)}
    flow_run = site.start("small-job/cluster", wait)
    site.begun(flow_run)
    site.kill_worker()
    site.cluster.kill_job(site.run(flow_run)["infrastructure_pid"])
    site.until(lambda: site.job_state(flow_run) != "RUNNING", lambda: site.job_state(flow_run))
    site.start_worker()
    run = site.wait(flow_run)
    assert run["state_name"] == "Crashed"


def test_a_job_that_is_put_back_into_the_queue_begins_again(site) -> None:
    wait = {"do": "wait", "seconds": 6, "folder": str(site.folder)}
    flow_run = site.start("small-job/cluster", wait, requeue=True)
    site.begun(flow_run)
    site.cluster.call("scontrol", "requeue", site.run(flow_run)["infrastructure_pid"])
    assert site.wait(flow_run, "Requeued")["state_name"] == "Requeued"
    run = site.wait(flow_run)
    assert (run["state_name"], run["run_count"]) == ("Completed", 2)


def test_a_partition_that_is_not_there_is_named_with_those_that_are(site) -> None:
    run = site.wait(site.start("small-job/cluster", partition="a100"))
    assert run["state_name"] == "Crashed"
    assert "found partition a100, wanted one of gpu, urgent" in run["state"]["message"]


def test_a_node_that_cannot_reach_the_server_says_so(site) -> None:
    # The run cannot say it itself; the worker reads it in the log of the job.
    flow_run = site.start("small-job/cluster", env={"PREFECT_API_URL": "http://127.0.0.1:9/api"})
    run = site.wait(flow_run)
    assert run["state_name"] == "Crashed"
    assert "it could not begin" in run["state"]["message"]
    assert "that address is every machine's own" in run["state"]["message"]
