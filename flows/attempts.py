"""A flow run that begins a second time goes on with the run that it began the first time."""

import prefect.runtime.deployment
import prefect.runtime.flow_run

from overnight.ids import new_run_id
from overnight.spec.run_options import RunOptions
from overnight.store.files import write_text
from overnight.store.run_folder import RunFolder, run_path


def same_run_again(run: RunOptions) -> RunOptions:
    """Return the options of a run, which goes on where its flow run has begun one before.

    A job that is put back into the queue, or a run that is tried again in the UI, has the parameters of its first
    attempt, and these say to begin a new run. What it began is written down first, and looked up here.
    """
    flow_run_id = prefect.runtime.flow_run.id
    if run.resume or not flow_run_id or not prefect.runtime.deployment.id:
        return run
    note = run.experiments_dir / ".flow_runs" / str(flow_run_id)
    if note.is_file():
        run_id = note.read_text(encoding="utf-8").strip()
        has_begun = RunFolder(run_path(run.experiments_dir, run_id)).manifest.is_file()
        return run.model_copy(update={"run_id": run_id, "resume": has_begun})
    run_id = run.run_id or new_run_id()
    if not run_path(run.experiments_dir, run_id).exists():  # else it is another's, and the name is taken
        write_text(note, f"{run_id}\n")
    return run.model_copy(update={"run_id": run_id})
