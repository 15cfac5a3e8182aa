"""Telling somebody that a run has ended: at a webhook, or by blocks of Prefect. It can never fail a run."""

import asyncio
import os
import threading
from collections.abc import Sequence
from contextvars import copy_context
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from prefect import get_run_logger, task
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.blocks.webhook import Webhook
from prefect.cache_policies import NO_CACHE

from overnight.runs.news import RunNews

URL_VARIABLE: Final = "OVERNIGHT_NOTIFY_URL"
_EACH_S = 20.0
_ALL_S = 45.0


# NO_CACHE: a run that goes on has news again.
@task(name="notify", cache_policy=NO_CACHE, persist_result=False)
def notify(news: RunNews, blocks: Sequence[str]) -> None:
    """Send news to the address in ``OVERNIGHT_NOTIFY_URL`` and to blocks (``type/name``); say what did not arrive."""
    logger = get_run_logger()
    try:
        for problem in told(news, blocks, os.environ.get(URL_VARIABLE)):
            logger.warning("not notified: %s", problem)
    except Exception as error:  # noqa: BLE001 - the run is complete, and nothing here may take that away
        logger.warning("not notified: %s: %s", type(error).__name__, error)


def is_anybody_told(blocks: Sequence[str]) -> bool:
    """True where there is somebody to tell."""
    return bool(blocks or os.environ.get(URL_VARIABLE))


def told(news: RunNews, blocks: Sequence[str], url: str | None) -> list[str]:
    """Send news, and return what went wrong, a line each.

    Args:
        news: what is told.
        blocks: of the server, as ``type/name``: a webhook, or anything that Prefect can notify by.
        url: where to post the news as JSON, or an address of another scheme that Apprise knows, such as
            ``mailtos://user:password@host?to=me@host``; None is nowhere.
    """
    problems: list[str] = []

    async def send() -> None:
        for name in blocks:
            await _one(name, _by_block(name, news), problems)
        if url:
            # Whoever knows the address of a webhook can post there: only its host is said.
            send_it = _post if urlsplit(url).scheme in {"http", "https"} else _by_apprise
            await _one(f"{URL_VARIABLE} ({urlsplit(url).hostname})", send_it(url, news), problems)

    # In a thread of its own, so that something that hangs without an end holds up nobody.
    context = copy_context()
    thread = threading.Thread(target=lambda: context.run(asyncio.run, send()), name="notify", daemon=True)
    thread.start()
    thread.join(_ALL_S)
    return [*problems, f"no end within {_ALL_S:g} s"] if thread.is_alive() else problems


async def _one(name: str, sending: Any, problems: list[str]) -> None:
    try:
        await asyncio.wait_for(sending, _EACH_S)
    except TimeoutError:
        problems.append(f"{name}: no answer within {_EACH_S:g} s")
    except httpx.HTTPStatusError as error:
        problems.append(f"{name}: answered {error.response.status_code}")
    except Exception as error:  # noqa: BLE001 - whatever a service or its library does
        problems.append(f"{name}: {type(error).__name__}: {error}")


async def _post(url: str, news: RunNews) -> None:
    async with httpx.AsyncClient(timeout=_EACH_S) as client:
        (await client.post(url, json=news.as_row())).raise_for_status()


async def _by_apprise(url: str, news: RunNews) -> None:
    from apprise import Apprise  # noqa: PLC0415 - a quarter of a second, and seldom wanted

    service = Apprise()
    if not service.add(url):
        raise ValueError("found no address that Apprise knows, wanted https://... or mailtos://...")
    if not await service.async_notify(body=news.text, title=news.subject):
        raise ConnectionError("it was not taken; is the address right, and what stands before the @?")


async def _by_block(name: str, news: RunNews) -> None:
    block: Any = await Block.aload(name)
    if isinstance(block, Webhook):
        (await block.call(news.as_row())).raise_for_status()
    elif isinstance(block, NotificationBlock):
        sent = block.notify(news.text, news.subject)
        if sent is not None:  # some wait themselves
            await sent
    else:
        raise TypeError(f"a {type(block).__name__} is neither a webhook nor can it notify")
