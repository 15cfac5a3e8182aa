"""Fitting a lens to a model, by itself: a sweep that needs it finds it fitted."""

from pathlib import Path

import prefect.runtime.flow_run
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed

from overnight.errors import StopRequested
from overnight.runs.resolving import lens_to_fit
from overnight.spec.base import Name
from overnight.spec.config_root import ConfigRoot
from overnight.spec.execution import Execution
from overnight.spec.lens import LensSpec
from overnight.spec.model import ModelSpec
from tasks.lenses import fit
from tasks.preparation import fetch_weights


def _run_name() -> str:
    """Return what a flow run is called: as its lens and its model."""
    asked = (prefect.runtime.flow_run.parameters[each] for each in ("lens", "model"))
    return " to ".join(str(each if isinstance(each, str) else each.name) for each in asked)


# No retries and no persisted result: a fit goes on from its own folder.
@flow(name="fit-lens", flow_run_name=_run_name, persist_result=False)
def fit_lens(
    lens: Name | LensSpec,
    model: Name | ModelSpec,
    execution: Execution = Execution(),  # noqa: B008 - frozen
    config_dir: Path | None = None,
    stop: Path | None = None,
) -> State[Path]:
    """Fit a lens to a model; one that was fitted to the same texts in the same way is found.

    Args:
        lens: a name in config/lenses, or all that would stand in it.
        model: a name in config/models, or all that would stand in it.
        execution: device, threads and limits of memory.
        config_dir: where names are looked up; ./config by default.
        stop: a file whose coming asks the fit to stop.
    """
    root = ConfigRoot(config_dir or Path("config"))
    wanted, held = lens_to_fit(lens, model, root, execution.engine)
    fetch_weights(held)
    try:
        folder = fit(wanted, held, execution, stop)
    except StopRequested as error:
        return Cancelled(message=str(error))
    return Completed(message=str(folder), data=folder)
