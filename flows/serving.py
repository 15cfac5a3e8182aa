"""One model, held for as long as its block needs it."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from prefect import get_run_logger

from overnight.engines.gpu_lease import gpus_of
from overnight.engines.holding import Holder, hold
from overnight.engines.ladder_holder import LadderHolder
from overnight.planning.ladder import Rung
from overnight.planning.plan import ModelBlock
from overnight.runs.ending import end_block
from overnight.runs.peaks_of_run import peaks_noted
from overnight.runs.sampling import sampled
from overnight.runs.stepping import fit_on_rung, note_step, on_its_rung
from overnight.spec.execution import Execution
from overnight.spec.model import EngineKind
from overnight.store.run_folder import RunFolder
from tasks.gpus import gpus_taken
from tasks.ladder import is_out_of_memory, load_model, on_ladder
from tasks.preparation import fetch_weights


@contextlib.contextmanager
def served(
    folder: RunFolder,
    block: ModelBlock,
    execution: Execution,
    *,
    is_alone: bool = True,
    until: datetime | None = None,
) -> Iterator[None]:
    """Have the model of a block answer while the block runs; the end of its process gives the memory back.

    Args:
        folder: of the run.
        block: whose model it is.
        execution: how it is held.
        is_alone: no other model of the run is held at the same time.
        until: how long to wait for a GPU that another run holds; None is as long as it takes.

    Raises:
        GpuBusy: another run holds its GPU, and is not, or no longer, to be waited for.
        StopRequested: somebody asked the run to stop while it waited.
        OvernightError: its weights cannot be had, or it cannot be loaded.
    """
    if block.model.engine is EngineKind.DRY_RUN:
        yield
        return

    found: dict[str, Path | None] = {}

    def weights(rung: Rung) -> Path | None:
        if rung.model.name not in found:
            found[rung.model.name] = _weights(rung)
        return found[rung.model.name]

    def make(rung: Rung) -> Holder:
        return hold(
            rung.model, weights(rung), rung.context_tokens, rung.carried_out(execution), folder.engines
        )

    block = on_its_rung(folder, block)
    weights(block.held)  # before the GPU is taken: others may use it during a download
    with gpus_taken(gpus_of(block.model, execution.engine), folder, execution, until=until):
        block = _begun_where_it_fits(folder, block, execution, weights)
        with _held(folder, block, execution, make, is_alone=is_alone):
            yield


@contextlib.contextmanager
def _held(
    folder: RunFolder,
    block: ModelBlock,
    execution: Execution,
    make: Callable[[Rung], Holder],
    *,
    is_alone: bool,
) -> Iterator[None]:
    """Have a model answer while the block runs; how it was held is written down."""
    is_seen = is_alone and block.model.engine is not EngineKind.OPENAI_COMPATIBLE
    holder = LadderHolder(block.ladder, block.rung, make, is_alone=is_seen)
    held_from = datetime.now(UTC)
    try:
        with sampled(folder, block, execution), on_ladder(folder, block, holder):
            load_model.with_options(
                retries=holder.n_below, retry_delay_seconds=0, retry_condition_fn=is_out_of_memory
            )(folder, block, holder)
            with peaks_noted(folder, block, execution):
                yield
    finally:
        end_block(folder, block, holder.state, held_from)


def _begun_where_it_fits(
    folder: RunFolder,
    block: ModelBlock,
    execution: Execution,
    weights: Callable[[Rung], Path | None],
) -> ModelBlock:
    """Return a block on the first rung that is not expected to be too large; on the last one, if all are.

    What a rung needs is not always known: then it is tried.
    """
    if execution.memory_margin is None:
        return block
    asked, too_large = block, ""
    for rung in range(block.rung, len(block.ladder.rungs)):
        block = replace(block, rung=rung)
        weights(block.held)
        fit = fit_on_rung(block.held, execution)
        if fit.fits is not False:
            break
        too_large = too_large or fit.why
    if block.rung != asked.rung:
        note_step(folder, block, asked.held, block.held, too_large)
        get_run_logger().warning("%s: begins on %s: %s", block.model.name, block.held.label, too_large)
    return block


def _weights(rung: Rung) -> Path | None:
    """Return the weights of a rung's model; None where a server has them."""
    if not rung.model.engine.has_weights_here:
        return None
    # The task returns a state that holds the path, so that the UI shows whether it was cached.
    return cast("Path", fetch_weights(rung.model, return_state=True).result())
