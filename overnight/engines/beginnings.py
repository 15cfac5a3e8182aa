"""Slots that begin alike: what prompts have in common is evaluated in one slot and copied into the others.

Each slot of llama.cpp has keys and values of its own. Left alone, every slot evaluates a new system prompt for itself,
which without a GPU takes as many times longer as there are slots: with a thousand tokens that is most of a short run.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from overnight.errors import BadResponse
from overnight.planning.requests import Request
from overnight.store.files import SCRATCH

_LOG = logging.getLogger(__name__)
_SHORTEST = 400  # characters of a system prompt; less is evaluated about as fast as it is copied

Post = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


class Beginnings:
    """A gate that lets requests through once all slots have the beginning of their prompt.

    A request with a system prompt that is new waits until no other is under way; its prompt is then evaluated in the
    first slot and copied from there. What two prompts do not share is dropped by the server, slot by slot.

    Args:
        post: asks the host.
        folder: through which slots are copied, the host's ``slot_save_path``.
        slots: that the host has.
    """

    def __init__(self, post: Post, folder: Path, slots: int) -> None:
        self._post = post
        self._folder = folder
        self._slots = slots
        self._can_copy = slots > 1
        self._known: set[str] = set()
        self._n_under_way = 0
        self._is_copying = False
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def before(self, request: Request) -> AsyncIterator[None]:
        """Have the beginning of a request's prompt in all slots, where that is worth it, while the block runs.

        Raises:
            EngineError: the host is gone.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: not self._is_copying)
            if self._is_new(request):
                self._is_copying = True
                try:
                    await self._changed.wait_for(lambda: not self._n_under_way)
                    await self._copy(request)
                except BadResponse as error:  # as under a memory limit; it costs time, and no answer
                    _LOG.info("every slot evaluates its prompts for itself: %s", error)
                    self._can_copy = False
                finally:
                    self._is_copying = False
                    self._changed.notify_all()
            self._n_under_way += 1
        try:
            yield
        finally:
            async with self._changed:
                self._n_under_way -= 1
                self._changed.notify_all()

    def _is_new(self, request: Request) -> bool:
        """Return whether the system prompt of a request is to be copied; from then on it is not new."""
        text = _system_prompt(request)
        if not self._can_copy or text is None or text in self._known:
            return False
        self._known.add(text)
        return True

    async def _copy(self, request: Request) -> None:
        name = f".beginning-{request.digest(None)[:16]}{SCRATCH}"
        rendered = await self._post("/apply-template", {"messages": list(request.messages)})
        prompt = rendered.get("prompt")
        if not isinstance(prompt, str):
            raise BadResponse(f"the template came back without its prompt: {str(rendered)[:200]}")
        asked = {"prompt": prompt, "n_predict": 0, "cache_prompt": True, "id_slot": 0}
        try:
            await self._post("/completion", asked)
            await self._post("/slots/0?action=save", {"filename": name})
            for slot in range(1, self._slots):
                await self._post(f"/slots/{slot}?action=restore", {"filename": name})
        finally:
            (self._folder / name).unlink(missing_ok=True)


def _system_prompt(request: Request) -> str | None:
    """Return what a request shares with others, if it is long enough; None where nothing may be shared."""
    first = request.messages[0]
    is_shared = first["role"] == "system" and not request.alternatives and len(first["content"]) >= _SHORTEST
    return first["content"] if is_shared else None
