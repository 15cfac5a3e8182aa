"""One model, held for as long as its block needs it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from overnight.engines.holding import Holder, hold
from overnight.engines.ladder_holder import LadderHolder
from overnight.planning.ladder import Rung
from overnight.planning.plan import ModelBlock
from overnight.runs.ending import end_block
from overnight.runs.sampling import sampled
from overnight.runs.stepping import on_its_rung
from overnight.spec.model import EngineKind
from overnight.spec.prompt_sweep import Execution
from overnight.store.run_folder import RunFolder
from tasks.ladder import is_out_of_memory, load_model, on_ladder
from tasks.preparation import fetch_weights


@contextlib.contextmanager
def served(folder: RunFolder, block: ModelBlock, execution: Execution) -> Iterator[None]:
    """Have the model of a block answer while the block runs; the end of its process gives the memory back.

    Raises:
        OvernightError: its weights cannot be had, or it cannot be loaded.
    """
    if block.model.engine is EngineKind.DRY_RUN:
        yield
        return

    def make(rung: Rung) -> Holder:
        weights = None
        if rung.model.engine.has_weights_here:
            # The task returns a state that holds the path, so that the UI shows whether it was cached.
            weights = cast("Path", fetch_weights(rung.model, return_state=True).result())
        return hold(rung.model, weights, rung.context_tokens, rung.carried_out(execution), folder.engines)

    block = on_its_rung(folder, block)
    holder = LadderHolder(block.ladder, block.rung, make)
    with sampled(folder, block, execution), on_ladder(folder, block, holder):
        try:
            load_model.with_options(
                retries=holder.n_below, retry_delay_seconds=0, retry_condition_fn=is_out_of_memory
            )(folder, block, holder)
            yield
        finally:
            end_block(folder, block, holder.state)
