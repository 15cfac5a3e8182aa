"""One model, held for as long as its block needs it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from overnight.engines.holding import hold
from overnight.planning.plan import ModelBlock
from overnight.runs.ending import end_block
from overnight.runs.sampling import sampled
from overnight.spec.model import EngineKind
from overnight.spec.prompt_sweep import Execution
from overnight.store.run_folder import RunFolder
from tasks.preparation import fetch_weights, load_model


@contextlib.contextmanager
def served(folder: RunFolder, block: ModelBlock, execution: Execution) -> Iterator[None]:
    """Have the model of a block answer while the block runs; the end of its process gives the memory back.

    Raises:
        OvernightError: its weights cannot be had, or it cannot be loaded.
    """
    if block.model.engine is EngineKind.DRY_RUN:
        yield
        return
    weights = None
    if block.model.engine.has_weights_here:
        # The task returns a state that holds the path, so that the UI shows whether it was cached.
        weights = cast("Path", fetch_weights(block.model, return_state=True).result())
    with (
        sampled(folder, block, execution),
        hold(block.model, weights, block.context_tokens, execution, folder.engines) as holder,
    ):
        load_model(block.model.name, holder)
        try:
            yield
        finally:
            end_block(folder, block, holder.state)
