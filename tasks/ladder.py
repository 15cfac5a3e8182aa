"""Holding a model on its ladder: a step down is a retry that anybody can see, with its reason."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from overnight.engines.ladder_holder import LadderHolder
from overnight.engines.placement import Placement
from overnight.errors import OutOfMemory
from overnight.planning.plan import ModelBlock
from overnight.runs.stepping import note_step
from overnight.store.run_folder import RunFolder

# The holders of this process. Trials ask a model by its address; only whoever holds it can hold it otherwise.
_HOLDERS: dict[tuple[Path, str], LadderHolder] = {}


def is_out_of_memory(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Retry only what a lower rung can help with; everything else fails at once."""
    try:
        state.result()
    except OutOfMemory:
        return True
    except BaseException:  # noqa: BLE001 - whatever it was, it was not memory
        return False
    return False


@contextlib.contextmanager
def on_ladder(folder: RunFolder, block: ModelBlock, holder: LadderHolder) -> Iterator[None]:
    """Let the tasks of a block step down while its model is held."""
    key = folder.path.resolve(), block.model.name
    _HOLDERS[key] = holder
    try:
        with holder:
            yield
    finally:
        del _HOLDERS[key]


def let_all_go(folder: RunFolder) -> None:
    """Take the models of a run away from whoever asks them in this process, since it has to end."""
    for (path, _), holder in list(_HOLDERS.items()):
        if path == folder.path.resolve():
            holder.__exit__(None, None, None)


def n_rungs_below(folder: RunFolder, block: ModelBlock) -> int:
    """Return how often a block can step down."""
    holder = _holder(folder, block)
    return 0 if holder is None else holder.n_below


def step_down_after_failure(folder: RunFolder, block: ModelBlock) -> bool:
    """Hold a block's model one rung lower if it ran out of memory on this one; return whether that was so.

    Raises:
        OutOfMemory: there is no rung below, or it does not fit either.
        EngineError: the rung below cannot be had for another reason.
    """
    holder = _holder(folder, block)
    if holder is None or holder.failure is None:
        return False
    above, reason = holder.rung, str(holder.failure)
    with _remembered(holder):
        try:
            holder.step_down()
        finally:
            if holder.rung != above:
                note_step(folder, block, above, holder.rung, reason)
    get_run_logger().warning("out of memory on %s; now on %s: %s", above.label, holder.rung.label, reason)
    return True


@contextlib.contextmanager
def memory_watched(folder: RunFolder, block: ModelBlock) -> Iterator[None]:
    """Remember that memory ran out while the block ran, for whoever tries again."""
    holder = _holder(folder, block)
    if holder is None:
        yield
        return
    with _remembered(holder):
        yield


@task(name="load-model", task_run_name="load {block.model.name}", cache_policy=NO_CACHE, persist_result=False)
def load_model(folder: RunFolder, block: ModelBlock, holder: LadderHolder) -> "State[Any]":
    """Have a model loaded and wait until it answers; on a retry, one rung lower."""
    if not step_down_after_failure(folder, block):
        with _remembered(holder):
            holder.start()
    state = holder.state
    message = f"{holder.rung.label}, {'loaded' if state.load_s is None else f'{state.load_s:.1f} s'}"
    if state.placement is not None:
        placement = Placement.from_row(state.placement)
        message = f"{message}, {placement.label}"
        if placement.is_split:
            get_run_logger().warning("%s lies %s", block.model.name, placement.label)
    get_run_logger().info("%s serves: %s", block.model.name, message)
    stepped = holder.rung != block.held
    return Completed(name="SteppedDown" if stepped else "Completed", message=message)


@contextlib.contextmanager
def _remembered(holder: LadderHolder) -> Iterator[None]:
    try:
        yield
    except OutOfMemory as error:
        holder.failure = error
        raise
    holder.failure = None


def _holder(folder: RunFolder, block: ModelBlock) -> LadderHolder | None:
    return _HOLDERS.get((folder.path.resolve(), block.model.name))
