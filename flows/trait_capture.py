"""The trait capture: models x groups of prompts, each a trial; a model is loaded once for all of them."""

from pathlib import Path

import prefect.runtime.flow_run
from prefect import flow
from prefect.client.schemas.objects import State

from flows.sweeping import carry_out
from overnight.planning.plan import Plan
from overnight.spec.run_options import RunOptions
from overnight.spec.sweep import SweepSpec
from overnight.spec.trait_capture import TraitCaptureSpec
from overnight.store.run_folder import RunFolder


def _run_name() -> str:
    parameters = prefect.runtime.flow_run.parameters
    return str(parameters["run"].run_id or parameters["sweep"].name)


# No retries and no persisted result: a run goes on from its folder, prompt by prompt.
@flow(name="trait-capture", flow_run_name=_run_name, persist_result=False)
def trait_capture(sweep: TraitCaptureSpec, run: RunOptions = RunOptions()) -> State[Path]:  # noqa: B008 - frozen
    """Measure how strongly each token, layer and sublayer expresses each trait.

    Args:
        sweep: what to run; names are looked up in the configuration folder.
        run: under which name, where, and whether to go on with an earlier run.
    """
    return carry_out(sweep, run, _nothing_more)


def _nothing_more(_: RunFolder, __: SweepSpec, ___: Plan) -> None:
    """Conclude nothing: what is said of the groups together, the report says."""
