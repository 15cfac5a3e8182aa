"""Waiting for what is done with the model between two batches."""

import asyncio
from collections.abc import Callable
from typing import Any

from overnight.engines.transformers.scheduling import Scheduler
from overnight.engines.transformers.serving import Caller, RefusedRequest
from overnight.errors import OutOfMemory, OvernightError, UsageError


async def run_errand(scheduler: Scheduler, do: Callable[[Callable[[], bool]], Any], caller: Caller) -> Any:
    """Return what an errand comes to; it is told when its caller does not wait any more.

    Raises:
        RefusedRequest: it ended in an `OvernightError`.
        Gone: the caller left.
    """
    errand = scheduler.send(do)
    try:
        return await caller.wait_for(asyncio.wrap_future(errand.result))
    except OvernightError as error:
        status = 400 if isinstance(error, UsageError) else 507 if isinstance(error, OutOfMemory) else 500
        raise RefusedRequest(status, type(error).__name__, str(error)) from None
    finally:
        errand.is_wanted = False
