"""What is to be done about a flow run, from what Prefect says of it and what SLURM says of its job."""

from enum import Enum, auto

from prefect.client.schemas.objects import State, StateType

from deployments.slurm.jobs import Job

QUEUED_AGAIN = "Requeued"  # the name of the state
_CANCEL_GRACE_S = 30.0  # the run inside of the job is told as well, and ends more gracefully
_UNSEEN_S = 60.0  # a job that was submitted a moment ago need not be listed yet


class Verdict(Enum):
    """What is to be done."""

    LEAVE = auto()
    CANCEL = auto()  # the job, and the run with it
    SAY_CANCELLED = auto()
    SAY_CRASHED = auto()
    SAY_QUEUED_AGAIN = auto()
    SUBMIT_AGAIN = auto()


def judge(state: State, age_s: float, job: Job | None, *, was_submitted: bool) -> Verdict:
    """Return what is to be done about a flow run.

    Args:
        state: what Prefect says of the run, read before the queue was.
        age_s: for how long.
        job: its job; None where SLURM knows of none, or no longer.
        was_submitted: the run has had a job, as Prefect knows.
    """
    if state.type is StateType.CANCELLING:
        return _of_cancelling(age_s, job, was_submitted=was_submitted)
    if job is None:
        return _without_job(state, age_s, was_submitted=was_submitted)
    if state.type is StateType.CRASHED:  # as its process saw it; SLURM knows better
        return Verdict.SAY_QUEUED_AGAIN if job.restarts and not job.has_ended else Verdict.LEAVE
    if job.has_ended:
        return Verdict.SAY_CRASHED
    is_back = job.is_waiting and job.restarts and state.name != QUEUED_AGAIN
    return Verdict.SAY_QUEUED_AGAIN if is_back else Verdict.LEAVE


def _without_job(state: State, age_s: float, *, was_submitted: bool) -> Verdict:
    if age_s < _UNSEEN_S or state.type not in (StateType.PENDING, StateType.RUNNING):
        return Verdict.LEAVE
    is_lost = was_submitted or state.type is StateType.RUNNING
    return Verdict.SAY_CRASHED if is_lost else Verdict.SUBMIT_AGAIN


def _of_cancelling(age_s: float, job: Job | None, *, was_submitted: bool) -> Verdict:
    if job is None:
        return Verdict.SAY_CANCELLED if was_submitted or age_s > _UNSEEN_S else Verdict.LEAVE
    if job.has_ended:
        return Verdict.SAY_CANCELLED
    # A job in the queue has nobody in it who could hear of it.
    return Verdict.CANCEL if job.is_waiting or age_s > _CANCEL_GRACE_S else Verdict.LEAVE
