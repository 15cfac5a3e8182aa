"""All trials of a run, to their end: the trials of a model share one load of it, the models of a wave the machine."""

from functools import partial

from prefect.client.schemas.objects import State
from prefect.states import Failed

from flows.serving import served
from flows.trial import trial
from overnight.errors import OvernightError, StopRequested
from overnight.memory.given_back import free_on_devices, wait_until_back
from overnight.memory.sharing import Wave, waves_of
from overnight.planning.plan import ModelBlock, Plan
from overnight.runs.ending import fail_trials, stop_trials
from overnight.runs.reusing import reuse_in_block
from overnight.runs.stepping import on_its_rung
from overnight.runs.together import note_together, sharing_cores
from overnight.runs.trials import needs_engine
from overnight.spec.model import EngineKind
from overnight.spec.run_options import RunOptions
from overnight.spec.sweep import SweepSpec
from overnight.store.run_folder import RunFolder
from tasks.waves import side_by_side


def trials_in_waves(folder: RunFolder, spec: SweepSpec, plan: Plan, run: RunOptions) -> dict[str, State]:
    """Run every trial to its end, wave by wave of models; return their states.

    Raises:
        StopRequested: somebody asked the run to stop.
    """
    states: dict[str, State] = {}
    blocks = [on_its_rung(folder, block) for block in plan.blocks]
    one_at_a_time = spec.execution.model_copy(update={"parallel_models": 1})
    for wave in waves_of(blocks, spec.execution if run.steps.asks else one_at_a_time):
        note_together(folder, wave.models)
        states |= _wave(folder, spec, plan, wave, run)
        if any(state.is_cancelled() for state in states.values()):
            raise StopRequested(f"{folder.run_id} was asked to stop")
    return states


def _wave(folder: RunFolder, spec: SweepSpec, plan: Plan, wave: Wave, run: RunOptions) -> dict[str, State]:
    """Run the blocks of a wave at the same time; return the states of their trials. Their memory is back then."""
    if len(wave.blocks) == 1:
        return trials_of_block(folder, spec, plan, wave.blocks[0], run)
    found: dict[str, dict[str, State]] = {name: {} for name in wave.models}
    execution = sharing_cores(spec.execution, len(wave.blocks))
    shared = spec.model_copy(update={"execution": execution})
    free = free_on_devices() if any((wave.needs or {}).values()) else {}

    def work(block: ModelBlock) -> None:
        found[block.model.name] = trials_of_block(folder, shared, plan, block, run, is_alone=False)

    side_by_side(folder, {block.model.name: partial(work, block) for block in wave.blocks})
    wait_until_back(free, ", ".join(wave.models))
    return {slug: state for states in found.values() for slug, state in states.items()}


def trials_of_block(
    folder: RunFolder,
    spec: SweepSpec,
    plan: Plan,
    block: ModelBlock,
    run: RunOptions,
    *,
    is_alone: bool = True,
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
        with served(folder, block, spec.execution, is_alone=is_alone):
            states = _trials(folder, block, run)
    except StopRequested as stop:  # while it waited for a GPU
        stop_trials(folder, plan, [each for each in block.trials if each.slug not in states], stop)
        raise
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
