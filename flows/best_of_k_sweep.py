"""The best-of-K sweep: models x lenses x datasets x temperatures, each a trial; one load of a model for all of them."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.sweeping import carry_out, run_name
from overnight.planning.plan import Plan
from overnight.runs.naming import sweep_to_run
from overnight.spec.base import Name
from overnight.spec.best_of_k import BestOfKSpec
from overnight.spec.run_options import RunOptions
from overnight.spec.sweep import SweepSpec
from overnight.store.run_folder import RunFolder


# No retries and no persisted result: a run goes on from its folder, chunk by chunk.
@flow(name="best-of-k-sweep", flow_run_name=run_name, persist_result=False)
def best_of_k_sweep(
    sweep: Name | BestOfKSpec,
    changes: dict[str, Any] | None = None,
    run: RunOptions = RunOptions(),  # noqa: B008 - frozen
) -> State[Path]:
    """Measure how much of an activation the best of K texts recovers.

    Args:
        sweep: what to run: the name of a file in config/sweeps, or all that would stand in it.
        changes: keys of the sweep that are different in this run, by dotted path: {"experiment.k_values": [1, 4]}.
        run: under which name, where, and whether to go on with an earlier run.
    """
    return carry_out(*sweep_to_run(BestOfKSpec, sweep, changes, run), _nothing_more)


def _nothing_more(_: RunFolder, __: SweepSpec, ___: Plan) -> None:
    """Conclude nothing: each trial says what it recovers, and the report sets them side by side."""
