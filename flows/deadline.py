"""A night that ends at a given hour: all trials in turn, model by model, then their tables as far as they came."""

from datetime import UTC, datetime, timedelta

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Failed

from flows.lenses import fit_lenses
from flows.serving import served
from flows.trial import trial
from overnight.errors import GpuBusy, OvernightError, StopRequested
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.rounds import share_of_time
from overnight.runs.captured import effective_captures
from overnight.runs.ending import fail_trials, stop_trials
from overnight.runs.generating import count_draws
from overnight.runs.reusing import reuse_in_block
from overnight.runs.stepping import on_its_rung
from overnight.spec.run_options import RunOptions
from overnight.spec.sweep import SweepSpec
from overnight.store.run_folder import RunFolder
from tasks.ladder import n_rungs_below
from tasks.trials import ask_in_rounds

_SHORTEST_TURN = timedelta(seconds=30)  # loading a model again for less is not worth it


def trials_until(
    last_call: datetime, folder: RunFolder, spec: SweepSpec, plan: Plan, run: RunOptions
) -> dict[str, State]:
    """Ask until the last call, then make the tables of every trial; return their states.

    Every model gets its share of the time by the draws it has left; what one leaves over, all that are not
    finished share again.

    Raises:
        StopRequested: somebody asked the run to stop.
    """
    for block in plan.blocks:
        reuse_in_block(folder, plan, on_its_rung(folder, block), spec.execution)
    states: dict[str, State] = {}
    is_first_turn = True
    while (waiting := _unfinished(folder, plan, states)) and (
        is_first_turn or last_call - datetime.now(UTC) > _SHORTEST_TURN
    ):
        is_first_turn = False
        for place, block in enumerate(waiting):
            n_open = [_n_open(folder, plan, each) for each in waiting[place:]]
            now = datetime.now(UTC)
            until = now + timedelta(seconds=share_of_time(n_open, (last_call - now).total_seconds()))
            states |= _ask(folder, spec, plan, block, until, skip_build=run.skip_build)
    for each in plan.trials:
        if each.slug not in states:
            make_tables = trial.with_options(flow_run_name=each.slug)
            states[each.slug] = make_tables(
                folder.path, each.slug, run.steps, is_asked=True, return_state=True
            )
    return states


def _ask(
    folder: RunFolder,
    spec: SweepSpec,
    plan: Plan,
    block: ModelBlock,
    until: datetime,
    *,
    skip_build: bool,
) -> dict[str, State]:
    """Ask the trials of one model in rounds; return the states of those that failed."""
    get_run_logger().info("%s is asked until %s", block.model.name, f"{until.astimezone():%H:%M:%S}")
    try:
        fit_lenses(folder, on_its_rung(folder, block), spec.execution, until=until)
        with served(folder, block, spec.execution, until=until):
            ask = ask_in_rounds.with_options(retries=n_rungs_below(folder, block))
            ask(folder.path, block.model.name, until, skip_build=skip_build)
    except StopRequested as stop:
        stop_trials(folder, plan, block.trials, stop)
        raise
    except GpuBusy as busy:
        if spec.execution.gpu_lease == "wait":  # its turn went by; there may be another
            get_run_logger().warning("%s was not asked: %s", block.model.name, busy)
            return {}
        return _failed(folder, plan, block, busy)
    except OvernightError as error:
        return _failed(folder, plan, block, error)
    return {}


def _failed(folder: RunFolder, plan: Plan, block: ModelBlock, error: OvernightError) -> dict[str, State]:
    fail_trials(folder, plan, block.trials, error)
    return {each.slug: Failed(message=str(error)) for each in block.trials}


def _unfinished(folder: RunFolder, plan: Plan, states: dict[str, State]) -> list[ModelBlock]:
    return [
        block for block in plan.blocks if block.trials[0].slug not in states and _n_open(folder, plan, block)
    ]


def _n_open(folder: RunFolder, plan: Plan, block: ModelBlock) -> int:
    """Return how many draws of a block were neither answered nor given up, and how many prompts nobody has read."""
    counts = [count_draws(folder, plan, each) for each in block.trials]
    n_unread = sum(
        plan.requests_per_trial[each.slug] - len(effective_captures(folder, each.slug))
        for each in block.trials
        if each.captures
    )
    return sum(each.expected - each.done - each.errors for each in counts) + n_unread
