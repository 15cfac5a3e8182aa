"""The baselines of throughput: a llama.cpp host and a loop that asks it, without any of our machinery.

``EngineHost`` only starts and ends the process, with the settings of the run. The loop keeps no journal, no
retries and no order but the one it is given.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from figures import NotMeasuredError

from overnight.engines.host import EngineHost, HostSettings
from overnight.engines.llama_cpp import NEUTRAL

Body = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What a stretch of asking came to."""

    n_answers: int
    completion_tokens: int
    wall_s: float


def ask_bare(bodies: Sequence[Body], settings: HostSettings, scratch: Path) -> Generation:
    """Ask a fresh host as many at once as it has slots, in the given order, each prefix reused in its slot."""
    return _on_fresh_host(bodies, settings, scratch, n_workers=settings.slots, cache_prompt=True)


def ask_one_by_one(bodies: Sequence[Body], settings: HostSettings, scratch: Path) -> Generation:
    """Ask a fresh host of one slot one request after another, each prompt evaluated from its beginning."""
    return _on_fresh_host(bodies, replace(settings, slots=1), scratch, n_workers=1, cache_prompt=False)


def _on_fresh_host(
    bodies: Sequence[Body], settings: HostSettings, scratch: Path, *, n_workers: int, cache_prompt: bool
) -> Generation:
    sent = [{**body, **NEUTRAL, "cache_prompt": cache_prompt} for body in bodies]
    with EngineHost(settings, scratch, "bare") as host:
        host.start()
        return asyncio.run(_ask(sent, str(host.state.url), str(host.state.token), n_workers))


async def _ask(bodies: Sequence[Body], url: str, token: str, n_workers: int) -> Generation:
    waiting = iter(bodies)
    n_tokens: list[int] = []
    started = time.perf_counter()
    async with httpx.AsyncClient(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=600, trust_env=False
    ) as client:

        async def work() -> None:
            for body in waiting:
                response = await client.post("/v1/chat/completions", json=body)
                if response.status_code != httpx.codes.OK:
                    raise NotMeasuredError(f"bare engine: HTTP {response.status_code}: {response.text[:200]}")
                n_tokens.append(response.json()["usage"]["completion_tokens"])

        await asyncio.gather(*(work() for _ in range(n_workers)))
        wall_s = time.perf_counter() - started
    return Generation(n_answers=len(n_tokens), completion_tokens=sum(n_tokens), wall_s=wall_s)
