"""What all sweeps have in common: a run is opened, its trials are asked, and what they show is told."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import prefect.runtime.flow_run
from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelled, Completed, Failed

from flows.attempts import same_run_again
from flows.deadline import trials_until
from flows.fan_out import trials_on_pool
from flows.waves import trials_in_waves
from overnight.errors import StopRequested, UsageError
from overnight.planning.plan import Plan
from overnight.runs.deadline import DEADLINE, MISSED, last_call_of, what_deadline_cut, what_was_missed
from overnight.runs.ending import CANCELLED, begin_run, end_run, seal_reports
from overnight.runs.news import news_of, news_of_failure
from overnight.runs.opening import frozen_items, load_plan, opened_run
from overnight.runs.resolving import resolve
from overnight.spec.config_root import ConfigRoot
from overnight.spec.run_options import RunOptions
from overnight.spec.steps import Step
from overnight.spec.sweep import SweepSpec
from overnight.store.manifest import TrialState
from overnight.store.run_folder import RunFolder
from tasks.notifying import is_anybody_told, notify
from tasks.preparation import prepare
from tasks.reporting import report
from tasks.tracking import track


def run_name() -> str:
    """Return what a flow run is called: as its folder, or else as its sweep."""
    parameters = prefect.runtime.flow_run.parameters
    sweep = parameters["sweep"]
    return str(parameters["run"].run_id or (sweep if isinstance(sweep, str) else sweep.name))


def carry_out(
    sweep: SweepSpec, run: RunOptions, conclude: Callable[[RunFolder, SweepSpec, Plan], None]
) -> State[Path]:
    """Run a sweep, and return how it ended; whoever is to be told that it has ended, is told.

    Args:
        sweep: names in it are looked up in the configuration folder.
        run: under which name, where, and whether to go on with an earlier run.
        conclude: the statistics step: what is said of the trials together, once all of them were asked.
    """
    is_told = is_anybody_told(sweep.execution.notify)
    if run.steps.asks and (missed := _missed(sweep)):
        if is_told:
            error = UsageError(missed)
            notify(news_of_failure(sweep.name, sweep.kind, run.run_id, error), sweep.execution.notify)
        return Cancelled(name=MISSED, message=missed)
    try:
        state, folder = _carried_out(sweep, run, conclude)
    except Exception as error:
        if is_told:
            notify(news_of_failure(sweep.name, sweep.kind, run.run_id, error), sweep.execution.notify)
        raise
    if is_told and folder is not None:
        notify(news_of(folder), sweep.execution.notify)
    return state


def _missed(sweep: SweepSpec) -> str | None:
    if prefect.runtime.flow_run.run_count > 1:  # somebody wants it again, now
        return None
    scheduled = prefect.runtime.flow_run.scheduled_start_time
    return what_was_missed(sweep.execution, scheduled, datetime.now(UTC))


def _carried_out(
    sweep: SweepSpec, run: RunOptions, conclude: Callable[[RunFolder, SweepSpec, Plan], None]
) -> tuple[State[Path], RunFolder | None]:
    """Run a sweep; return how it ended, and its folder unless somebody stopped it, who knows."""
    run = same_run_again(run)
    spec = resolve(sweep, ConfigRoot(run.config_dir or Path("config")))
    last_call = last_call_of(spec.execution) if run.steps.asks else None
    if run.steps.has(Step.PREPARE) and not run.skip_prepare:
        prepare(spec.experiment, frozen_items(run))
    with opened_run(spec, run) as folder:
        plan = load_plan(folder, spec)
        begin_run(folder)
        get_run_logger().info(
            "%s: %d trials, %d requests, %d models",
            folder.path,
            len(plan.trials),
            plan.n_requests,
            len(plan.blocks),
        )
        try:
            states = _trials(last_call, folder, spec, plan, run)
            if run.steps.has(Step.STATS):
                conclude(folder, spec, plan)
        except TerminationSignal:  # Prefect says the rest
            end_run(folder, TrialState.STOPPED, f"{CANCELLED}; go on with `overnight resume {folder.run_id}`")
            raise
        except StopRequested:
            end_run(folder, TrialState.STOPPED)
            return Cancelled(message=f"stopped; go on with `overnight resume {folder.run_id}`"), None
        failed = [slug for slug, state in states.items() if not state.is_completed()]
        problem = f"{len(failed)} of {len(states)} trials failed: {', '.join(failed)}" if failed else None
        cut = what_deadline_cut(folder, plan)
        end_run(
            folder,
            TrialState.FAILED if failed else TrialState.STOPPED if cut else _last_state(run),
            problem or cut,
        )
        if run.steps.has(Step.REPORT):
            report(folder.path)
        seal_reports(folder)
        if run.steps.has(Step.REPORT):
            track(folder.path)
        if problem:
            return Failed(message=problem), folder
        if cut:
            return Cancelled(name=DEADLINE, message=cut), folder
        return Completed(message=str(folder.path), data=folder.path), folder


def _trials(
    last_call: datetime | None, folder: RunFolder, spec: SweepSpec, plan: Plan, run: RunOptions
) -> dict[str, State]:
    if last_call is not None:
        return trials_until(last_call, folder, spec, plan, run)
    if spec.execution.pool is not None and run.steps.asks:
        return trials_on_pool(spec.execution.pool, folder, spec, plan, run)
    return trials_in_waves(folder, spec, plan, run)


def _last_state(run: RunOptions) -> TrialState:
    return TrialState.DONE if run.steps.has(Step.COSTS) else TrialState.PARTIAL
