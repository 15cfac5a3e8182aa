"""The lenses of a sweep, fitted to a model before it is held for the trials."""

from overnight.planning.best_of_k_trials import BestOfKTrial
from overnight.planning.plan import ModelBlock
from overnight.spec.execution import Execution
from overnight.store.run_folder import RunFolder
from tasks.lenses import fit
from tasks.preparation import fetch_weights


def fit_lenses(folder: RunFolder, block: ModelBlock, execution: Execution) -> None:
    """Fit the lenses of a block's trials, or find them fitted; trials without a lens have nothing to wait for.

    Args:
        folder: of the run, where somebody may ask for a stop.
        block: on the rung that it is going to be held on: a lens belongs to the weights as they are held.
        execution: device, threads and limits of memory.

    Raises:
        StopRequested: somebody asked the run to stop; a fit goes on from where it was.
        OvernightError: a lens cannot be fitted.
    """
    model = block.held.model
    trials = [trial for trial in block.trials if isinstance(trial, BestOfKTrial)]
    wanted = {trial.lens.name: trial.lens for trial in trials if trial.lens.fit is not None}
    if wanted:
        fetch_weights(model)
    for lens in wanted.values():
        fit(lens, model, execution, folder.stop_request)
