"""Jobs as squeue tells of them, and in words how they ended."""

from dataclasses import dataclass

from deployments.slurm.variables import flow_run_of

_FIELDS = ("JobID", "State", "RestartCnt", "exit_code", "Reason", "NodeList", "StdOut", "Comment")
SQUEUE_FORMAT = ",".join(f"{name}:|" for name in _FIELDS)
_ENDED = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}
_WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"}
_KILL = 9
_CANNOT_BEGIN = 78
_WORDS = {
    "CANCELLED": "cancelled in SLURM",
    "NODE_FAIL": "its node failed",
    "OUT_OF_MEMORY": "out of memory: ask for more by `memory`",
    "PREEMPTED": "preempted: with `requeue: true` it would have gone on later",
    "TIMEOUT": "its time was up: ask for more by `time`, or set `requeue_at_time_limit`",
    "BOOT_FAIL": "its node did not come up",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job, now."""

    job_id: str
    state: str  # SLURM's word
    restarts: int
    exit_code: int  # as wait() gives it: the code times 256, or the signal
    reason: str
    node: str
    log: str
    flow_run_id: str | None

    @property
    def has_ended(self) -> bool:
        """True where nothing will come of it any more."""
        return self.state in _ENDED

    @property
    def is_waiting(self) -> bool:
        """True where it is in the queue, for the first time or again."""
        return self.state in _WAITING

    @property
    def how_it_ended(self) -> str:
        """SLURM's reason, for people."""
        signal, code = self.exit_code & 0x7F, self.exit_code >> 8
        what = _WORDS.get(self.state)
        if what is None and _KILL in (signal, code - 128):
            what = "killed, as the kernel does where memory runs out: ask for more by `memory`"
        if what is None and code == _CANNOT_BEGIN:
            what = "it could not begin"
        if what is None:
            what = f"signal {signal}" if signal else f"exit code {code}"
        where = f" on {self.node}" if self.node else ""
        return f"SLURM job {self.job_id} ended{where}: {self.state}, {what}"


def read_jobs(said: str) -> list[Job]:
    """Return the jobs that squeue lists in ``SQUEUE_FORMAT``; a job array or a torn line is none of ours."""
    jobs = []
    for line in said.splitlines():
        fields = line.split("|")
        if len(fields) <= len(_FIELDS) or not fields[0].isdigit():
            continue
        job_id, state, restarts, exit_code, reason, node, log, comment = fields[: len(_FIELDS)]
        jobs.append(
            Job(
                job_id=job_id,
                state=state,
                restarts=int(restarts or 0),
                exit_code=int(exit_code or 0),
                reason=reason,
                node=node,
                log=log,
                flow_run_id=flow_run_of(comment),
            )
        )
    return jobs
