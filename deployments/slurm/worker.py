"""The worker of a SLURM pool: it submits jobs, and brings together what Prefect and SLURM say of them.

It remembers nothing: a job carries the id of its flow run, so that a worker that is started again, or another one on
another login node, goes on where the last one ended.
"""

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio.abc
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Pending, Scheduled
from prefect.workers.base import BaseVariables, BaseWorker, BaseWorkerResult

from deployments.slurm.commands import cancel, missing_commands, queued_jobs, submit, without_a_job
from deployments.slurm.jobs import Job
from deployments.slurm.reconciling import QUEUED_AGAIN, Verdict, judge
from deployments.slurm.script import batch_script
from deployments.slurm.variables import SlurmJob
from overnight.errors import OvernightError, UsageError

_LIVE = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
_PAGE = 200
_TAIL_LINES = 30
_TAIL_BYTES = 20_000


class SlurmResult(BaseWorkerResult):
    """A job that was submitted; how the flow run ends, it says itself."""


class SlurmWorker(BaseWorker[SlurmJob, BaseVariables, SlurmResult]):
    """Runs every flow run as a job of its own."""

    type = "slurm"
    job_configuration = SlurmJob
    _description = "Runs each flow run as a SLURM job, by sbatch, squeue and scancel."
    _display_name = "SLURM"

    async def setup(self) -> None:
        """Begin, or end at once with one line where this machine is none of a cluster."""
        if problem := missing_commands():
            raise SystemExit(problem)
        await super().setup()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: SlurmJob,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> SlurmResult:
        """Submit a flow run and return; nobody waits for a job but `reconcile`.

        Raises:
            UsageError: SLURM does not take the job, or there is no place for its log.
        """
        try:
            configuration.logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{configuration.logs}: cannot be made ({error.strerror}); name a folder that the nodes share in the "
                "job variable log_dir"
            ) from None
        environment = without_a_job(os.environ) | {
            k: v for k, v in configuration.env.items() if v is not None
        }
        arguments = configuration.sbatch_arguments(str(flow_run.id))
        job_id = await submit(batch_script(configuration), arguments, environment)
        log = configuration.logs / f"{job_id}.out"
        self.get_flow_run_logger(flow_run).info(
            "SLURM job %s: sbatch %s; its log is %s", job_id, arguments, log
        )
        if task_status is not None:
            task_status.started(int(job_id))
        return SlurmResult(status_code=0, identifier=job_id)

    async def kill_infrastructure(
        self,
        infrastructure_pid: str,
        configuration: SlurmJob,  # noqa: ARG002 - Prefect's signature
        grace_seconds: int = 30,  # noqa: ARG002 - SLURM has one of its own
    ) -> None:
        """Cancel a job."""
        await cancel(infrastructure_pid)

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Look after the jobs there are, then submit what is due; Prefect calls this every few seconds."""
        try:
            await self.reconcile()
        except OvernightError as error:
            self._logger.warning("%s; what became of jobs is looked at again at the next poll", error)
        except Exception:
            self._logger.exception("jobs could not be looked after; it is tried again at the next poll")
        return await super().get_and_submit_flow_runs()

    async def reconcile(self) -> None:
        """Bring what Prefect says of the runs of this pool together with what SLURM says of their jobs."""
        # In this order: a run that ends meanwhile is taken for one that was still going, and keeps its own verdict.
        runs = await self._read(
            FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(_LIVE))))
        )
        jobs = await queued_jobs()
        runs += await self._crashed_before_a_restart(jobs)
        by_run = {job.flow_run_id: job for job in sorted(jobs, key=lambda job: int(job.job_id))}
        by_id = {job.job_id: job for job in jobs}
        for run in runs:
            if run.state is None or run.id in self._submitting_flow_run_ids:
                continue
            job = by_run.get(str(run.id)) or by_id.get(run.infrastructure_pid or "")
            age_s = (datetime.now(UTC) - run.state.timestamp).total_seconds()
            verdict = judge(run.state, age_s, job, was_submitted=run.infrastructure_pid is not None)
            await self._carry_out(verdict, run, job)

    async def _carry_out(self, verdict: Verdict, run: FlowRun, job: Job | None) -> None:
        log = self.get_flow_run_logger(run)
        match verdict:
            case Verdict.LEAVE:
                return
            case Verdict.CANCEL if job is not None:
                await cancel(job.job_id)
                await self._say_cancelled(run, job)
            case Verdict.SAY_CANCELLED:
                await self._say_cancelled(run, job)
            case Verdict.SAY_QUEUED_AGAIN if job is not None:
                message = (
                    f"SLURM put job {job.job_id} back into its queue ({job.reason}), restart {job.restarts}"
                )
                state: State[Any] = Pending(name=QUEUED_AGAIN, message=message)
                # A process that begins again meanwhile says so itself; in the queue there is none.
                await self.client.set_flow_run_state(run.id, state, force=job.is_waiting)
                log.warning(message)
            case Verdict.SUBMIT_AGAIN:
                await self.client.set_flow_run_state(run.id, Scheduled(message="it had got no job"))
                log.warning("no job was made of this run, and its worker is gone; it is submitted again")
            case _:
                await self._say_crashed(run, job)

    async def _say_crashed(self, run: FlowRun, job: Job | None) -> None:
        if job is None:
            message = f"SLURM knows nothing of job {run.infrastructure_pid} any more, and it has not said how it ended"
        else:
            message = f"{job.how_it_ended}; its log is {_log_of(job)}"
            tail = _tail_of(_log_of(job))
            last = tail.rstrip().rpartition("\n")[2].strip()
            message += f", which ends: {last}" if last else ""
            self.get_flow_run_logger(run).error("the end of the log of job %s:\n%s", job.job_id, tail)
        children = FlowRunFilter(
            parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(_LIVE))),
        )
        for child in await self.client.read_flow_runs(flow_run_filter=children, limit=_PAGE):
            if child.deployment_id is None:  # it was in the same process
                await self._propose_crashed_state(child, message)
        await self._propose_crashed_state(run, message)

    async def _say_cancelled(self, run: FlowRun, job: Job | None) -> None:
        what = f"SLURM job {job.job_id} was {job.state}" if job else "there was no job"
        await self._mark_flow_run_as_cancelled(run, {"message": f"cancelled: {what}"})

    async def _crashed_before_a_restart(self, jobs: Iterable[Job]) -> list[FlowRun]:
        ids = [
            UUID(job.flow_run_id) for job in jobs if job.flow_run_id and job.restarts and not job.has_ended
        ]
        if not ids:
            return []
        crashed = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED]))
        return await self._read(FlowRunFilter(id=FlowRunFilterId(any_=ids), state=crashed))

    async def _read(self, wanted: FlowRunFilter) -> list[FlowRun]:
        pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[self._work_pool_name]))
        found: list[FlowRun] = []
        while True:
            try:
                page = await self.client.read_flow_runs(
                    flow_run_filter=wanted, work_pool_filter=pool, limit=_PAGE, offset=len(found)
                )
            except ObjectNotFound:
                return found
            found += page
            if len(page) < _PAGE:
                return found


def _log_of(job: Job) -> Path:
    return Path(job.log.replace("%j", job.job_id))


def _tail_of(log: Path) -> str:
    """Return the last lines of a log, or why they cannot be read from here."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError as error:
        return (
            f"(cannot be read here: {error.strerror}; name a folder that nodes and worker share in log_dir)"
        )
    return "\n".join(lines[-_TAIL_LINES:])
