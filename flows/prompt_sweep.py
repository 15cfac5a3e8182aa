"""The prompt sweep: a run is a flow, each trial a subflow, the trials of a model share one loaded engine."""

import sys
from pathlib import Path

import prefect.runtime.flow_run
from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from flows.deadline import trials_until
from flows.serving import served
from flows.trial import trial
from overnight.errors import OvernightError, StopRequested
from overnight.planning.plan import ModelBlock, Plan
from overnight.runs.deadline import DEADLINE, last_call_of, what_deadline_cut
from overnight.runs.ending import begin_run, end_run, fail_trials, scored_trials, seal_reports
from overnight.runs.opening import frozen_items, load_plan, opened_run
from overnight.runs.resolving import resolve
from overnight.runs.reusing import reuse_in_block
from overnight.runs.stepping import on_its_rung
from overnight.runs.trials import needs_engine
from overnight.spec.config_root import ConfigRoot
from overnight.spec.model import EngineKind
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.run_options import RunOptions
from overnight.spec.steps import Step
from overnight.store.manifest import TrialState
from overnight.store.run_folder import RunFolder
from tasks.preparation import prepare
from tasks.reporting import analyse_trials, compare_arms, report


def _run_name() -> str:
    parameters = prefect.runtime.flow_run.parameters
    return str(parameters["run"].run_id or parameters["sweep"].name)


# No retries and no persisted result: a run goes on from its folder, draw by draw.
@flow(name="prompt-sweep", flow_run_name=_run_name, persist_result=False)
def prompt_sweep(sweep: PromptSweepSpec, run: RunOptions = RunOptions()) -> State[Path]:  # noqa: B008 - frozen
    """Compare system prompts on language models, trial by trial.

    Args:
        sweep: what to run; names are looked up in the configuration folder.
        run: under which name, where, and whether to go on with an earlier run.
    """
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
            states = (
                trials_until(last_call, folder, spec, plan, run)
                if last_call
                else trials_in_order(folder, spec, plan, run)
            )
        except StopRequested:
            end_run(folder, TrialState.STOPPED)
            return Cancelled(message=f"stopped; go on with `overnight resume {folder.run_id}`")
        if run.steps.has(Step.STATS):
            scored = scored_trials(folder, plan)
            compare_arms(folder.path, scored, spec.experiment.statistics)
            analyse_trials(folder.path, scored)
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
        if problem:
            return Failed(message=problem)
        if cut:
            return Cancelled(name=DEADLINE, message=cut)
        return Completed(message=str(folder.path), data=folder.path)


def trials_in_order(
    folder: RunFolder, spec: PromptSweepSpec, plan: Plan, run: RunOptions
) -> dict[str, State]:
    """Run every trial to its end, model by model; return their states.

    Raises:
        StopRequested: somebody asked the run to stop.
    """
    states: dict[str, State] = {}
    for block in plan.blocks:
        states |= model_block(folder, spec, plan, block, run)
        if any(state.is_cancelled() for state in states.values()):
            raise StopRequested(f"{folder.run_id} was asked to stop")
    return states


def model_block(
    folder: RunFolder, spec: PromptSweepSpec, plan: Plan, block: ModelBlock, run: RunOptions
) -> dict[str, State]:
    """Run the trials of one model on one load of it, or on none where every answer is known; return their states."""
    if run.steps.asks:
        reuse_in_block(folder, plan, on_its_rung(folder, block), spec.execution)
    is_model_needed = (
        run.steps.asks
        and block.model.engine is not EngineKind.DRY_RUN
        and any(needs_engine(folder, plan, each) for each in block.trials)
    )
    if not is_model_needed:
        return _trials(folder, block, run)
    states: dict[str, State] = {}
    try:
        with served(folder, block, spec.execution):
            states = _trials(folder, block, run)
    except OvernightError as error:
        left = [each for each in block.trials if each.slug not in states]
        fail_trials(folder, plan, left, error)
        states |= {each.slug: Failed(message=str(error)) for each in left}
    return states


def _trials(folder: RunFolder, block: ModelBlock, run: RunOptions) -> dict[str, State]:
    """Run trials one after another; one that fails does not stop its siblings, a stop does."""
    states: dict[str, State] = {}
    for each in block.trials:
        run_trial = trial.with_options(flow_run_name=each.slug)
        states[each.slug] = run_trial(
            folder.path, each.slug, run.steps, skip_build=run.skip_build, return_state=True
        )
        if states[each.slug].is_cancelled():
            break
    return states


def _last_state(run: RunOptions) -> TrialState:
    return TrialState.DONE if run.steps.has(Step.COSTS) else TrialState.PARTIAL


if __name__ == "__main__":
    from overnight.cli import main

    main(["run", *sys.argv[1:]])
