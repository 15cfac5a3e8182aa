"""The uncertainty sweep: models x datasets, each a trial; then other models have their say, one after another."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.sweeping import carry_out, run_name
from overnight.planning.plan import Plan
from overnight.runs.ending import scored_trials
from overnight.runs.naming import sweep_to_run
from overnight.spec.base import Name
from overnight.spec.run_options import RunOptions
from overnight.spec.sweep import SweepSpec
from overnight.spec.uncertainty_sweep import UncertaintySweepSpec
from overnight.store.run_folder import RunFolder
from tasks.uncertainty import analyse_run, cluster_samples, judge_answers, measure, relate_tokens


# No retries and no persisted result: a run goes on from its folder, draw by draw.
@flow(name="uncertainty-sweep", flow_run_name=run_name, persist_result=False)
def uncertainty_sweep(
    sweep: Name | UncertaintySweepSpec,
    changes: dict[str, Any] | None = None,
    run: RunOptions = RunOptions(),  # noqa: B008 - frozen
) -> State[Path]:
    """Measure how well the likelihood of an answer predicts that it is right, by model and dataset.

    Args:
        sweep: what to run: the name of a file in config/sweeps, or all that would stand in it.
        changes: keys of the sweep that are different in this run, by dotted path: {"experiment.limit_items": 250}.
        run: under which name, where, and whether to go on with an earlier run.
    """
    return carry_out(*sweep_to_run(UncertaintySweepSpec, sweep, changes, run), _measure)


def _measure(folder: RunFolder, _: SweepSpec, plan: Plan) -> None:
    """Measure every trial that has answers: the models that are needed for it are held one at a time."""
    answered = scored_trials(folder, plan)
    relate_tokens(folder.path, answered)
    cluster_samples(folder.path, answered)
    judge_answers(folder.path, answered)
    for slug in answered:
        measure(folder.path, slug)
    analyse_run(folder.path)
