"""The trials of a run as jobs on a work pool, one a model; what came of them stands in the run's folder."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import httpx
import prefect.runtime.flow_run
from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun, State, WorkerStatus
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Cancelling, Completed, Failed

from flows.waves import trials_of_block
from overnight.credentials import without_credentials
from overnight.errors import OvernightError, StopRequested, UsageError
from overnight.planning.plan import ModelBlock, Plan
from overnight.runs.ending import fail_trials
from overnight.runs.trials import is_finished
from overnight.spec.run_options import RunOptions
from overnight.spec.sweep import SweepSpec
from overnight.store.manifest import TrialState, read_manifest
from overnight.store.run_folder import RunFolder

_POLL_S = 3.0
# A job that SLURM takes away and puts back may be taken for crashed until its worker looks.
_MAY_COME_BACK_S = 45.0
_REFUSED = (409, 422)
_DONE = (TrialState.DONE, TrialState.PARTIAL)


@dataclass(kw_only=True)
class _Job:
    """The flow run of a block."""

    block: ModelBlock
    flow_run: FlowRun
    asked_at: datetime
    crashed_since: float | None = field(default=None)  # monotonic

    @property
    def has_ended(self) -> bool:
        state = self.flow_run.state
        if state is None or not state.is_final():
            self.crashed_since = None
            return False
        if not state.is_crashed():
            return True
        self.crashed_since = self.crashed_since or time.monotonic()
        return time.monotonic() - self.crashed_since > _MAY_COME_BACK_S


def trials_on_pool(
    pool: str, folder: RunFolder, spec: SweepSpec, plan: Plan, run: RunOptions
) -> dict[str, State]:
    """Run every trial to its end, those of a model together in a job on a work pool; return their states.

    A job that dies takes its own trials with it and no others. Where this process is stopped, so are the jobs.

    Raises:
        UsageError: there is no such pool, or it cannot carry out what is asked.
        StopRequested: somebody asked the run to stop.
    """
    states: dict[str, State] = {}
    waiting: list[ModelBlock] = []
    for block in plan.blocks:
        if all(is_finished(folder, plan, each.slug) for each in block.trials):
            states |= trials_of_block(folder, spec, plan, block, run)
        else:
            waiting.append(block)
    if not waiting:
        return states
    with get_client(sync_client=True) as client:
        # A process a GPU: who asks for several of the one means as many of the other.
        gpus = {"num_gpus": spec.execution.num_processes} if spec.execution.num_processes > 1 else {}
        job_variables = _understood(client, pool, gpus | spec.execution.job_variables)
        jobs: list[_Job] = []
        try:
            for block in waiting:
                jobs.append(_begun(client, pool, folder, block, run, job_variables))  # noqa: PERF401 - what was begun is ended
            _wait(client, folder, jobs)
        except BaseException:
            _cancel(client, jobs)
            raise
    for job in jobs:
        states |= _states_of(folder, plan, job)
    if folder.stop_request.exists():
        raise StopRequested(f"{folder.run_id} was asked to stop")
    return states


def _understood(client: SyncPrefectClient, pool: str, job_variables: dict[str, Any]) -> dict[str, Any]:
    """Return job variables that a pool has, and say where nobody works for it."""
    shown = without_credentials(str(get_current_settings().api.url))
    try:
        found = client.read_work_pool(pool)
        client.read_deployment_by_name(f"block/{pool}")
    except ObjectNotFound:
        raise UsageError(
            f"execution.pool: found no work pool {pool} with a deployment block/{pool} at {shown}; start a server "
            "that the nodes reach by `prefect server start --host 0.0.0.0`, set PREFECT_API_URL to it, then "
            f"`overnight deploy` and `prefect worker start --pool {pool}`"
        ) from None
    known = found.base_job_template.get("variables", {}).get("properties", {})
    if unknown := sorted(set(job_variables) - set(known)):
        raise UsageError(
            f"execution.job_variables: found {unknown[0]}, wanted one of {', '.join(sorted(known))}"
        )
    workers = client.read_workers_for_work_pool(pool)
    if not any(worker.status is WorkerStatus.ONLINE for worker in workers):
        get_run_logger().warning("jobs wait for a worker: prefect worker start --pool %s", pool)
    return job_variables


def _begun(
    client: SyncPrefectClient,
    pool: str,
    folder: RunFolder,
    block: ModelBlock,
    run: RunOptions,
    job_variables: dict[str, Any],
) -> _Job:
    """Start the job of a block, or take the one that an earlier attempt of this run has started."""
    name = block.model.name
    now = datetime.now(UTC)
    for child in _children(client):
        if child.name == name and child.state is not None and not child.state.is_final():
            get_run_logger().info("%s: a job is there already, it is waited for", name)
            return _Job(block=block, flow_run=child, asked_at=child.created or now)
    try:
        flow_run = run_deployment(
            f"block/{pool}",
            parameters={
                "run_dir": str(folder.path.absolute()),
                "model": name,
                "steps": run.steps.model_dump(mode="json"),
                "skip_build": run.skip_build,
            },
            job_variables=job_variables,
            flow_run_name=name,
            timeout=0,
        )
    except PrefectHTTPStatusError as error:
        raise UsageError(
            f"execution.job_variables: pool {pool} does not take them: {_detail(error)}"
        ) from None
    get_run_logger().info("%s: %d trials asked of pool %s", name, len(block.trials), pool)
    # It waits for nothing, and what it returns in a thread without a loop is the run itself.
    return _Job(block=block, flow_run=cast("FlowRun", flow_run), asked_at=now)


def _children(client: SyncPrefectClient) -> list[FlowRun]:
    parent = prefect.runtime.flow_run.id
    if parent is None:
        return []
    mine = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[parent]))
    return [child for child in client.read_flow_runs(flow_run_filter=mine) if child.deployment_id is not None]


def _wait(client: SyncPrefectClient, folder: RunFolder, jobs: list[_Job]) -> None:
    """Wait for all jobs, telling of each how it gets on; a server that is away for a while is waited for, too."""
    said: dict[str, str | None] = {}
    while left := [job for job in jobs if not job.has_ended]:
        if folder.stop_request.exists():  # those that run see it themselves, and end in order
            _cancel(client, [job for job in left if _is_queued(job)])
        time.sleep(_POLL_S)
        try:
            ids = FlowRunFilterId(any_=[job.flow_run.id for job in left])
            found = {each.id: each for each in client.read_flow_runs(flow_run_filter=FlowRunFilter(id=ids))}
        except (httpx.TransportError, PrefectHTTPStatusError) as error:
            get_run_logger().warning("the server does not say how jobs get on (%s); asked again", error)
            continue
        for job in left:
            job.flow_run = found.get(job.flow_run.id, job.flow_run)
            state = job.flow_run.state
            if state is not None and said.get(job.flow_run.name) != state.name:
                said[job.flow_run.name] = state.name
                why = f": {state.message}" if state.message else ""
                get_run_logger().info("%s: %s%s", job.flow_run.name, state.name, why)


def _is_queued(job: _Job) -> bool:
    state = job.flow_run.state
    return state is not None and (state.is_scheduled() or state.is_pending())


def _cancel(client: SyncPrefectClient, jobs: Iterable[_Job]) -> None:
    for job in jobs:
        state = job.flow_run.state
        if state is None or not (state.is_final() or state.is_cancelling()):
            try:
                client.set_flow_run_state(job.flow_run.id, Cancelling(message="its run was stopped"))
            except (httpx.TransportError, PrefectHTTPStatusError) as error:
                get_run_logger().warning("%s: its job could not be cancelled (%s)", job.flow_run.name, error)


def _states_of(folder: RunFolder, plan: Plan, job: _Job) -> dict[str, State]:
    """Return what came of the trials of a job; those that it did not bring to an end have failed with it."""
    final = job.flow_run.state
    message = (final and final.message) or "no reason was given"
    reason = f"the job of {job.block.model.name} is {final.name if final else 'gone'}: {message}"
    records = read_manifest(folder).trials
    states: dict[str, State] = {}
    for each in job.block.trials:
        record = records[each.slug]
        has_ended = record.timings.ended is not None and record.timings.ended > job.asked_at
        if record.state in _DONE:
            states[each.slug] = Completed(message=record.state.value, data=each.slug)
        elif record.state is TrialState.STOPPED and has_ended:
            states[each.slug] = Cancelled(message=record.error)
        elif record.state is TrialState.FAILED and has_ended and final and final.is_failed():
            states[each.slug] = Failed(message=record.error)
        else:
            fail_trials(folder, plan, [each], OvernightError(reason))
            states[each.slug] = Failed(message=reason)
    return states


def _detail(error: PrefectHTTPStatusError) -> str:
    try:
        return str(error.response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return str(error)
