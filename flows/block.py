"""The trials of one model of a run, in a job of their own on a work pool; each is a subflow, as everywhere."""

import socket
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from flows.waves import trials_of_block
from overnight.errors import StopRequested, UsageError
from overnight.runs.opening import load_plan, load_spec
from overnight.spec.run_options import RunOptions
from overnight.spec.steps import StepRange
from overnight.store.run_folder import RunFolder
from overnight.store.run_lock import block_lock


# No retries and no persisted result: trials go on from their journals, draw by draw.
@flow(name="block", persist_result=False)
def block(run_dir: Path, model: str, steps: StepRange, *, skip_build: bool = False) -> State[str]:
    """Run the trials of one model to their end; a run whose sweep has execution.pool starts this, nobody else.

    Args:
        run_dir: the run's folder, on a file system that is shared.
        model: by its name in the plan.
        steps: which steps are wanted.
        skip_build: take the requests that were built before.
    """
    folder = _shared(run_dir)
    spec = load_spec(folder)
    plan = load_plan(folder, spec)
    planned = next((each for each in plan.blocks if each.model.name == model), None)
    if planned is None:
        raise UsageError(f"run {folder.run_id} has no model {model}; was it changed since the run began?")
    try:
        with block_lock(folder, model):
            states = trials_of_block(
                folder, spec, plan, planned, RunOptions(steps=steps, skip_build=skip_build)
            )
    except StopRequested as stop:  # while it waited for a GPU
        return Cancelled(message=str(stop))
    if any(state.is_cancelled() for state in states.values()):
        return Cancelled(message=f"{folder.run_id} was asked to stop")
    if failed := [slug for slug, state in states.items() if not state.is_completed()]:
        return Failed(message=f"{len(failed)} of {len(states)} trials failed: {', '.join(failed)}")
    return Completed(message=f"{len(states)} trials", data=model)


def _shared(run_dir: Path) -> RunFolder:
    folder = RunFolder(run_dir)
    if not folder.manifest.is_file():
        raise UsageError(
            f"{run_dir}: found no run there on {socket.gethostname()}; a run whose trials are jobs needs a folder on a "
            "file system that all nodes share: name one by --experiments-dir"
        )
    return folder
