import pytest
from prefect.client.schemas.objects import State, StateType

from deployments.slurm.jobs import Job, read_jobs
from deployments.slurm.reconciling import QUEUED_AGAIN, Verdict, judge

# As squeue 22.05 printed them: a job that was killed, one that a script's last command's death ended, one whose node
# could not begin, one that waits again after `scontrol requeue`, and one of somebody else.
SQUEUE = """\
2|FAILED|0|9|JobLaunchFailure|n1|/logs/%j.out|overnight-flow-run=a|
3|FAILED|0|35072|NonZeroExitCode|n1|/logs/%j.out|overnight-flow-run=b|
4|FAILED|0|19968|NonZeroExitCode|n2|/logs/%j.out|overnight-flow-run=c|
9|PENDING|1|0|BeginTime||/logs/%j.out|overnight-flow-run=d|
11|RUNNING|0|0|None|n1|/home/x.out|(null)|
"""


def job(state: str, restarts: int = 0, exit_code: int = 0) -> Job:
    return Job(
        job_id="7",
        state=state,
        restarts=restarts,
        exit_code=exit_code,
        reason="None",
        node="n1",
        log="",
        flow_run_id="a",
    )


def run(type_: StateType, name: str | None = None) -> State:
    return State(type=type_, name=name)


def test_jobs_are_read_as_squeue_prints_them() -> None:
    jobs = {each.job_id: each for each in read_jobs(SQUEUE)}
    assert [each.flow_run_id for each in jobs.values()] == ["a", "b", "c", "d", None]
    assert (jobs["9"].restarts, jobs["9"].is_waiting, jobs["9"].has_ended) == (1, True, False)
    assert jobs["4"].node == "n2"


def test_a_torn_line_is_no_job() -> None:
    assert read_jobs(SQUEUE[:50]) == []


@pytest.mark.parametrize("job_id", ["2", "3"])
def test_a_job_that_was_killed_is_told_what_mostly_kills(job_id: str) -> None:
    # 35072 is exit code 137, a shell's word for signal 9.
    found = next(each for each in read_jobs(SQUEUE) if each.job_id == job_id)
    assert found.how_it_ended.startswith(f"SLURM job {job_id} ended on n1: FAILED, killed")
    assert "memory" in found.how_it_ended


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("TIMEOUT", "`time`"),
        ("NODE_FAIL", "its node failed"),
        ("OUT_OF_MEMORY", "`memory`"),
        ("PREEMPTED", "requeue"),
    ],
)
def test_the_reason_is_said_in_words_beside_slurms_own(state: str, says: str) -> None:
    assert state in job(state).how_it_ended
    assert says in job(state).how_it_ended


def test_an_exit_code_is_said_as_it_is() -> None:
    assert job("FAILED", exit_code=3 << 8).how_it_ended.endswith("FAILED, exit code 3")


@pytest.mark.parametrize(
    "state", ["FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "CANCELLED", "COMPLETED"]
)
@pytest.mark.parametrize("type_", [StateType.PENDING, StateType.RUNNING])
def test_a_run_whose_job_has_ended_has_crashed(state: str, type_: StateType) -> None:
    # Whatever it could have said of itself it would have said before its process ended.
    assert judge(run(type_), 5, job(state), was_submitted=True) is Verdict.SAY_CRASHED


@pytest.mark.parametrize("state", ["PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED"])
def test_a_run_whose_job_goes_on_is_left_alone(state: str) -> None:
    assert judge(run(StateType.RUNNING), 5000, job(state), was_submitted=True) is Verdict.LEAVE


def test_a_job_that_waits_again_is_said_to_once() -> None:
    for type_ in (StateType.RUNNING, StateType.CRASHED):
        verdict = judge(run(type_), 5, job("PENDING", restarts=1), was_submitted=True)
        assert verdict is Verdict.SAY_QUEUED_AGAIN
    again = run(StateType.PENDING, QUEUED_AGAIN)
    assert judge(again, 5, job("PENDING", restarts=1), was_submitted=True) is Verdict.LEAVE


def test_a_crash_of_the_last_attempt_is_final_where_slurm_has_given_up_too() -> None:
    assert judge(run(StateType.CRASHED), 5, job("FAILED", restarts=1), was_submitted=True) is Verdict.LEAVE
    assert judge(run(StateType.CRASHED), 5, job("RUNNING"), was_submitted=True) is Verdict.LEAVE


def test_cancelling_ends_a_waiting_job_at_once_and_gives_a_running_one_time() -> None:
    cancelling = run(StateType.CANCELLING)
    assert judge(cancelling, 0, job("PENDING"), was_submitted=True) is Verdict.CANCEL
    assert judge(cancelling, 5, job("RUNNING"), was_submitted=True) is Verdict.LEAVE
    assert judge(cancelling, 31, job("RUNNING"), was_submitted=True) is Verdict.CANCEL
    assert judge(cancelling, 5, job("FAILED"), was_submitted=True) is Verdict.SAY_CANCELLED
    assert judge(cancelling, 5, None, was_submitted=True) is Verdict.SAY_CANCELLED


def test_a_job_that_slurm_does_not_list_yet_is_waited_for() -> None:
    for type_ in (StateType.PENDING, StateType.RUNNING):
        assert judge(run(type_), 5, None, was_submitted=True) is Verdict.LEAVE


def test_a_job_that_slurm_has_forgotten_is_lost() -> None:
    assert judge(run(StateType.RUNNING), 61, None, was_submitted=True) is Verdict.SAY_CRASHED


def test_a_run_whose_worker_died_before_sbatch_is_submitted_again() -> None:
    assert judge(run(StateType.PENDING), 61, None, was_submitted=False) is Verdict.SUBMIT_AGAIN
