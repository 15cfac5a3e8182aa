"""Asking an Ollama server: one request in, one completion out."""

import asyncio
import logging
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
from ollama import ShowResponse

from overnight.engines.ollama.asking import (
    chat_body,
    completion,
    load_body,
    most_tokens,
    require_room,
    stop_strings,
)
from overnight.engines.ollama.connection import Answer, AsyncServer
from overnight.engines.ollama.failures import understood
from overnight.engines.ollama.server import ServerVersion, address, client_options, tag_of
from overnight.engines.protocol import Completion
from overnight.engines.state import EngineState, read_state
from overnight.errors import BadResponse, EngineCrashed, EngineUnavailable, RateLimited
from overnight.planning.requests import Request
from overnight.spec.execution import EngineSettings

_LOG = logging.getLogger(__name__)
_POLL_S = 0.2


class _Facts:
    """What is asked of a server once, before the first request."""

    def __init__(self, state: EngineState, version: ServerVersion, shown: ShowResponse) -> None:
        self.context_tokens = state.context_tokens
        self.version = version
        self.is_thinking = "thinking" in (shown.capabilities or ())
        self.stops = stop_strings(shown.parameters)


class OllamaEngine:
    """A client of the server that holds a model; ``OllamaHolder`` left its state file at ``state_path``."""

    def __init__(self, state_path: Path, source: str, settings: EngineSettings, *, timeout_s: float) -> None:
        self._state_path = state_path
        self._tag = tag_of(source)
        self._settings = settings
        self._host = address(settings.ollama)
        self._timeout_s = timeout_s
        self._client: AsyncServer | None = None
        self._facts: _Facts | None = None
        self._asking_facts = asyncio.Lock()
        self._missed_logprobs = False

    async def complete(self, request: Request) -> Completion:
        """Return the answer to one request; see ``Engine``.

        Raises:
            OutOfMemory: the server could not hold the model any more.
            ModelNotFound: it has it no more.
            RateLimited: its queue is full.
        """
        facts = await self._known()
        if most_tokens(request) > facts.context_tokens - request.max_new_tokens:
            require_room(request, facts.context_tokens)
        body = chat_body(
            request,
            self._tag,
            self._settings,
            context_tokens=facts.context_tokens,
            version=facts.version,
            is_thinking=facts.is_thinking,
            model_stops=facts.stops,
        )
        started = time.perf_counter()
        answer = await self._post(body)
        latency_s = time.perf_counter() - started
        answered = completion(answer, request, body, facts.version, latency_s)
        if request.logprobs and answered.token_logprobs is None:
            self._say_once(facts.version)
        return answered

    async def recover(self) -> None:
        """Return when the server holds the model again; see ``Engine``.

        Raises:
            OutOfMemory: it does not fit any more.
            ModelNotFound: the server has it no more.
        """
        await self.close()
        state = read_state(self._state_path)
        deadline = time.monotonic() + self._settings.startup_timeout_s
        why = "no answer"
        while time.monotonic() < deadline:
            try:
                await self._post(load_body(self._tag, self._settings, state.context_tokens), is_loading=True)
            except (EngineUnavailable, RateLimited, BadResponse) as error:
                why = str(error)
                await asyncio.sleep(_POLL_S)
            else:
                return
        raise EngineCrashed(f"Ollama did not come back within {self._settings.startup_timeout_s:g} s: {why}")

    async def close(self) -> None:
        """Give connections back."""
        client, self._client, self._facts = self._client, None, None
        if client is not None:
            await client.close()  # type: ignore[no-untyped-call]

    async def _known(self) -> _Facts:
        async with self._asking_facts:
            if self._facts is None:
                state = read_state(self._state_path)
                if state.status != "serving":
                    raise EngineUnavailable(f"the engine is {state.status}")
                with self._understood():
                    version = await self._connected().version()
                    self._facts = _Facts(state, version, await self._connected().show(self._tag))
            return self._facts

    async def _post(self, body: dict[str, Any], *, is_loading: bool = False) -> Answer:
        with self._understood(is_loading=is_loading):
            return await self._connected().answer(body)

    def _understood(self, *, is_loading: bool = False) -> AbstractContextManager[None]:
        return understood(
            self._host,
            self._tag,
            is_loading=is_loading,
            timeout_s=self._timeout_s,
            timeout_key="execution.request_timeout_s",
        )

    def _connected(self) -> AsyncServer:
        if self._client is None:
            self._client = AsyncServer(
                **client_options(self._host, httpx.Timeout(self._timeout_s, connect=10)),
                limits=httpx.Limits(max_connections=None),
            )
        return self._client

    def _say_once(self, version: ServerVersion) -> None:
        if self._missed_logprobs:
            return
        self._missed_logprobs = True
        why = "the model thinks, or its runner has none" if version.has_logprobs else "0.12.11 and later do"
        _LOG.warning(
            "%s: Ollama %s sends no log-probabilities of the answers (%s): confidences stay empty",
            self._tag,
            version,
            why,
        )
