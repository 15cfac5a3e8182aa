"""The prompt sweep: a run is a flow, each trial a subflow, the trials of a model share one loaded engine."""

import sys
from pathlib import Path

import prefect.runtime.flow_run
from prefect import flow
from prefect.client.schemas.objects import State

from flows.sweeping import carry_out
from overnight.planning.plan import Plan
from overnight.runs.ending import scored_trials
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.run_options import RunOptions
from overnight.spec.sweep import SweepSpec
from overnight.store.run_folder import RunFolder
from tasks.reporting import analyse_trials, compare_arms


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
    return carry_out(sweep, run, _compare)


def _compare(folder: RunFolder, _: SweepSpec, plan: Plan) -> None:
    """Compare control and treatment in every trial that has scores."""
    scored = scored_trials(folder, plan)
    compare_arms(folder.path, scored)
    analyse_trials(folder.path, scored)


if __name__ == "__main__":
    from overnight.cli import main

    main(["run", *sys.argv[1:]])
