"""The prompt sweep: a run is a flow, each trial a subflow, the trials of a model share one loaded engine."""

import sys
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.sweeping import carry_out, run_name
from overnight.planning.plan import Plan
from overnight.runs.ending import scored_trials
from overnight.runs.naming import sweep_to_run
from overnight.spec.base import Name
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.run_options import RunOptions
from overnight.spec.sweep import SweepSpec
from overnight.store.run_folder import RunFolder
from tasks.reporting import analyse_trials, compare_arms


# No retries and no persisted result: a run goes on from its folder, draw by draw.
@flow(name="prompt-sweep", flow_run_name=run_name, persist_result=False)
def prompt_sweep(
    sweep: Name | PromptSweepSpec,
    changes: dict[str, Any] | None = None,
    run: RunOptions = RunOptions(),  # noqa: B008 - frozen
) -> State[Path]:
    """Compare system prompts on language models, trial by trial.

    Args:
        sweep: what to run: the name of a file in config/sweeps, or all that would stand in it.
        changes: keys of the sweep that are different in this run, by dotted path: {"experiment.limit_items": 250}.
        run: under which name, where, and whether to go on with an earlier run.
    """
    return carry_out(*sweep_to_run(PromptSweepSpec, sweep, changes, run), _compare)


def _compare(folder: RunFolder, _: SweepSpec, plan: Plan) -> None:
    """Compare control and treatment in every trial that has scores."""
    scored = scored_trials(folder, plan)
    compare_arms(folder.path, scored)
    analyse_trials(folder.path, scored)


if __name__ == "__main__":
    from overnight.cli import main

    main(["run", *sys.argv[1:]])
