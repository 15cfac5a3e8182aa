"""Progress in the Prefect UI: a bar for a trial, moved every few seconds and never in the way."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from httpx import HTTPError
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.exceptions import PrefectException

from overnight.telemetry.progress import BOARD

_EVERY_S = 5.0


@contextlib.asynccontextmanager
async def progress_artifact(slug: str) -> AsyncIterator[None]:
    """Show how far a trial is while the block runs; an API that cannot be reached costs the bar, not the run."""
    updates = asyncio.create_task(_keep_up(slug))
    try:
        yield
    finally:
        updates.cancel()
        await asyncio.wait({updates})
        if not updates.cancelled() and (error := updates.exception()):
            raise error


async def _keep_up(slug: str) -> None:
    try:
        artifact = await acreate_progress_artifact(progress=0.0, key="trial-progress", description=slug)
        try:
            while True:
                await asyncio.sleep(_EVERY_S)
                await aupdate_progress_artifact(artifact, progress=_percent(slug), description=slug)
        finally:
            await aupdate_progress_artifact(artifact, progress=_percent(slug), description=slug)
    except (PrefectException, HTTPError):
        return


def _percent(slug: str) -> float:
    for trial in BOARD.snapshot():
        if trial.slug == slug and trial.n_expected:
            return 100.0 * (trial.n_done + trial.n_errors) / trial.n_expected
    return 0.0
