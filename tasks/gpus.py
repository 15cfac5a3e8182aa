"""Taking a GPU for a model: where another run holds it, the wait is a task of its own that anybody can see."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from overnight.engines.gpu_lease import Gpu, lent
from overnight.spec.execution import Execution
from overnight.store.run_folder import RunFolder
from overnight.telemetry.progress import BOARD


@contextlib.contextmanager
def gpus_taken(
    gpus: Sequence[Gpu], folder: RunFolder, execution: Execution, *, until: datetime | None = None
) -> Iterator[None]:
    """Hold GPUs for a run while the block runs, and say for whom it has to wait; see ``lent``."""
    with ExitStack() as held:
        if gpus and execution.gpu_lease != "off":
            take_gpus.with_options(task_run_name=f"take {', '.join(gpu.name for gpu in gpus)}")(
                held, gpus, folder, execution, until
            )
        yield


@task(name="take-gpus", cache_policy=NO_CACHE, persist_result=False)
def take_gpus(
    held: ExitStack, gpus: Sequence[Gpu], folder: RunFolder, execution: Execution, until: datetime | None
) -> "State[None]":
    """Take GPUs, waiting where that is wanted; whoever closes the stack gives them back."""
    logger = get_run_logger()
    waited_for: list[str] = []

    def say(sentence: str) -> None:
        logger.warning("%s", sentence)
        BOARD.say(sentence)
        waited_for.append(sentence)

    began = time.monotonic()
    try:
        held.enter_context(lent(gpus, folder, execution, until=until, say=say))
    finally:
        BOARD.say(None)
    if not waited_for:
        return Completed(message="free")
    message = f"waited {time.monotonic() - began:.0f} s"
    logger.info("%s for %s", message, ", ".join(gpu.name for gpu in gpus))
    return Completed(name="Waited", message=f"{message}: {waited_for[-1]}")
