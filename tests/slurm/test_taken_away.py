"""Jobs that SLURM takes away and gives back by itself: for the sake of others, or because their time is up."""

import pytest

pytestmark = pytest.mark.slurm


def waits_once(site) -> dict[str, object]:
    return {"do": "wait once", "seconds": 900, "folder": str(site.folder)}


def test_a_job_that_makes_room_for_an_urgent_one_goes_on_after_it(site) -> None:
    # All of a node: the urgent one can only have it alone.
    node = {"num_cpus": 2, "extra_arguments": ["--nodelist=n1"]}
    flow_run = site.start("small-job/cluster", waits_once(site), requeue=True, **node)
    site.begun(flow_run)
    urgent = site.start("small-job/cluster", partition="urgent", **node)
    assert site.wait(flow_run, "Requeued")["state_name"] == "Requeued"
    assert site.wait(urgent)["state_name"] == "Completed"
    run = site.wait(flow_run)
    assert (run["state_name"], run["run_count"]) == ("Completed", 2)


def test_a_job_whose_time_is_up_goes_back_into_the_queue_where_that_is_wanted(site) -> None:
    flow_run = site.start(
        "small-job/cluster", waits_once(site), time="1", warning_s=20, requeue_at_time_limit=True
    )
    assert site.wait(flow_run, "Requeued")["state_name"] == "Requeued"
    run = site.wait(flow_run)
    assert (run["state_name"], run["run_count"]) == ("Completed", 2)
