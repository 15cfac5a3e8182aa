"""The lenses of a sweep, fitted to a model before it is held for the trials."""

from datetime import datetime

from overnight.engines.gpu_lease import gpus_of
from overnight.planning.best_of_k_trials import BestOfKTrial
from overnight.planning.plan import ModelBlock
from overnight.spec.execution import Execution
from overnight.store.run_folder import RunFolder
from tasks.gpus import gpus_taken
from tasks.lenses import fit
from tasks.preparation import fetch_weights


def fit_lenses(
    folder: RunFolder, block: ModelBlock, execution: Execution, *, until: datetime | None = None
) -> None:
    """Fit the lenses of a block's trials, or find them fitted; trials without a lens have nothing to wait for.

    Args:
        folder: of the run, where somebody may ask for a stop.
        block: on the rung that it is going to be held on: a lens belongs to the weights as they are held.
        execution: device, threads and limits of memory.
        until: how long to wait for a GPU that another run holds; None is as long as it takes.

    Raises:
        GpuBusy: another run holds its GPU, and is not to be waited for.
        StopRequested: somebody asked the run to stop; a fit goes on from where it was.
        OvernightError: a lens cannot be fitted.
    """
    model = block.held.model
    trials = [trial for trial in block.trials if isinstance(trial, BestOfKTrial)]
    wanted = {trial.lens.name: trial.lens for trial in trials if trial.lens.fit is not None}
    if not wanted:
        return
    fetch_weights(model)  # before the GPU is taken: others may use it during a download
    with gpus_taken(gpus_of(model, execution.engine), folder, execution, until=until):
        for lens in wanted.values():
            fit(lens, model, execution, folder.stop_request)
