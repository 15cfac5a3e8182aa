"""Working against a deadline: every trial in turn, a slice at a time, and tables over what both arms answered."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from overnight.engines.protocol import Engine
from overnight.ids import custom_id
from overnight.planning.plan import ModelBlock, Plan, restricted
from overnight.planning.rounds import interleaved, last_call, next_time, next_turn, slices
from overnight.planning.trial import Trial
from overnight.records import Item
from overnight.runs.generating import Generated, count_draws, generate
from overnight.spec.execution import Execution
from overnight.store.journal import read_rows
from overnight.store.manifest import TrialCounts, TrialState, read_manifest
from overnight.store.run_folder import RunFolder

_ROUNDS = 50
_FIRST_TURN_ITEMS = 4
DEADLINE = "Deadline"  # the name of the state in which a run ends that a deadline cut off
MISSED = "Missed"  # of that in which one ends whose deadline was over before it began


def deadline_of(execution: Execution, begins: datetime | None = None) -> datetime | None:
    """Return the moment that ``execution.deadline`` means for a run that begins then, in UTC; None without one.

    Args:
        execution: of the run.
        begins: None is now.
    """
    if execution.deadline is None:
        return None
    wall = next_time(execution.deadline, (begins or datetime.now(UTC)).astimezone())
    # Read off the wall again: the clocks may be put forward or back during the night.
    return wall.replace(tzinfo=None).astimezone(UTC)


def last_call_of(execution: Execution) -> datetime | None:
    """Return when a run that begins now must stop asking, in UTC; None without a deadline."""
    deadline = deadline_of(execution)
    return deadline and last_call(deadline, datetime.now(UTC))


def what_was_missed(execution: Execution, scheduled: datetime, now: datetime) -> str | None:
    """Return, in a sentence, that the night of a run was over before it could begin; None where it was not.

    Such a run waited for the one before it, or for a machine that was off. Its deadline would be the next day's, and
    it would hold the GPU until then.

    Args:
        execution: of the run.
        scheduled: when it was to begin.
        now: when it begins.
    """
    deadline = deadline_of(execution, scheduled)
    if deadline is None or now < deadline:
        return None
    return (
        f"left out: it was to begin at {scheduled.astimezone():%Y-%m-%d %H:%M}, and its deadline, "
        f"{deadline.astimezone():%Y-%m-%d %H:%M}, was over before it could"
    )


async def generate_in_rounds(
    folder: RunFolder,
    plan: Plan,
    block: ModelBlock,
    engine: Engine,
    execution: Execution,
    *,
    until: datetime,
    on_slice: Callable[[Trial, Generated], None],
) -> None:
    """Ask a few items of every trial, then the next few of every trial, until there is no time left.

    A round takes about a fiftieth of the time there is, so that the trials are never further apart than that.

    Args:
        folder: of the run.
        plan: of the run.
        block: whose trials are asked.
        engine: whom to ask.
        execution: how.
        until: after it no request is sent any more.
        on_slice: told of what came of each trial's turn.

    Raises:
        As ``generate``.
    """
    order = interleaved(plan.parts)
    wanted_s = (until - datetime.now(UTC)).total_seconds() / _ROUNDS / len(block.trials)
    n_asked, n_items = 0, _FIRST_TURN_ITEMS
    while n_asked < len(order):
        parts = slices(order[n_asked : n_asked + n_items])
        began = time.perf_counter()
        for trial in block.trials:
            if datetime.now(UTC) >= until:
                return
            on_slice(
                trial,
                await generate(folder, plan, block, trial, engine, execution, parts=parts, until=until),
            )
        n_asked += n_items
        n_items = next_turn(n_items, (time.perf_counter() - began) / len(block.trials), wanted_s)


def answered(folder: RunFolder, plan: Plan, trial: Trial) -> Plan:
    """Return the plan of one trial over the items of which every draw, in every arm, was asked."""
    asked = {row["custom_id"] for row in read_rows(folder.trial(trial.slug).journal)}

    def is_complete(item: Item) -> bool:
        return all(
            custom_id(item.key, arm.condition.value, arm.temperature, index, item.type.value) in asked
            for arm in trial.arms(plan.conditions)
            for index in range(trial.draws(arm.temperature))
        )

    return restricted(plan, trial, is_complete)


def what_deadline_cut(folder: RunFolder, plan: Plan) -> str | None:
    """Return what a deadline cut off a run, in a sentence; None where nothing was."""
    n_trials = sum(trial.state is TrialState.STOPPED for trial in read_manifest(folder).trials.values())
    if not n_trials:
        return None
    counts = [count_draws(folder, plan, trial) for trial in plan.trials]
    n_left = sum(each.expected - each.done - each.errors for each in counts)
    return (
        f"the deadline came with {n_left} of {plan.n_requests} draws left, in {n_trials} of "
        f"{len(plan.trials)} trials; go on with `overnight resume {folder.run_id}`"
    )


def what_was_left(plan: Plan, trial: Trial, tabled: Plan, counts: TrialCounts) -> str | None:
    """Return what a deadline cut off, in a sentence; None where nothing was."""
    n_left = counts.expected - counts.done - counts.errors
    if not n_left:
        return None
    return (
        f"the deadline came: {len(tabled.items)} of {len(plan.items_of(trial))} items are complete in every arm, "
        f"{n_left} of {counts.expected} draws were left; `overnight resume` asks the rest"
    )
