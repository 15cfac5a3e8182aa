"""A client of a host on loopback: who it is stands in its state file, its token in every request."""

import asyncio
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import httpx

from overnight.engines.answer_values import count, read_body, written_body
from overnight.engines.state import EngineState, read_state
from overnight.errors import BadResponse, ContextOverflow, EngineCrashed, EngineUnavailable, OutOfMemory
from overnight.planning.requests import Request

_POLL_S = 0.1
_OK = 200
_JSON = {"Content-Type": "application/json"}
_TEMPLATE_TOKENS = 64  # what a chat template adds to two messages, generously


class LoopbackClient(ABC):
    """What all clients of our own hosts have in common.

    Args:
        state_path: where the host says where it listens.
        timeout_s: the longest wait for an answer.
        startup_timeout_s: the longest wait for a host that died to come back.
        rank: which one is asked, where several processes hold the model.
    """

    def __init__(
        self, state_path: Path, *, timeout_s: float, startup_timeout_s: float, rank: int = 0
    ) -> None:
        self._state_path = state_path
        self._timeout_s = timeout_s
        self._startup_timeout_s = startup_timeout_s
        self._rank = rank
        self._state: EngineState | None = None
        self._client: httpx.AsyncClient | None = None

    async def recover(self) -> None:
        """Return when the host serves again; see ``Engine``."""
        await self.close()
        deadline = time.monotonic() + self._startup_timeout_s
        while time.monotonic() < deadline:
            state = read_state(self._state_path)
            if state.status == "failed":
                if state.error_kind == OutOfMemory.__name__:
                    raise OutOfMemory(str(state.error))
                raise EngineCrashed(f"the engine died: {state.error}")
            if state.status == "serving" and await self._is_healthy(state):
                return
            await asyncio.sleep(_POLL_S)
        raise EngineCrashed(f"the engine did not come back within {self._startup_timeout_s:g} s")

    async def close(self) -> None:
        """Give connections back."""
        if self._client is not None:
            await self._client.aclose()
        self._client = self._state = None

    def connected(self) -> EngineState:
        """Return how the host was when it was first asked.

        Raises:
            EngineUnavailable: it does not serve.
        """
        if self._state is None:
            state = read_state(self._state_path)
            if state.status != "serving":
                raise EngineUnavailable(f"the engine is {state.status}")
            self._state = state
        return self._state

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON object that the host answers with; see ``ask``."""
        return await self.ask("POST", path, body)

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the JSON object that the host answers with.

        Raises:
            BadResponse: no answer in time, none that is JSON, or an error.
            EngineUnavailable: nobody there, or not yet.
            EngineError: what ``raise_for`` makes of an error.
        """
        try:
            content = None if body is None else written_body(body)
            response = await self._http().request(method, path, content=content, headers=_JSON)
        except httpx.TimeoutException:
            raise BadResponse(
                f"no answer within {self._timeout_s:g} s; raise execution.request_timeout_s"
            ) from None
        except (httpx.HTTPError, RuntimeError) as error:  # RuntimeError: closed by recover() meanwhile
            raise EngineUnavailable(f"the engine is gone ({type(error).__name__})") from None
        try:
            value = read_body(response.content)
        except ValueError:
            raise BadResponse(f"HTTP {response.status_code}, not JSON: {response.text[:200]!r}") from None
        if response.status_code == _OK and isinstance(value, dict):
            return value
        problem = value.get("error", {}) if isinstance(value, dict) else {}
        kind = str(problem.get("type", "")) if isinstance(problem, dict) else ""
        message = problem.get("message", str(value)[:200]) if isinstance(problem, dict) else str(problem)
        self.raise_for(kind, str(message))
        if response.status_code in (502, 503):
            raise EngineUnavailable(f"HTTP {response.status_code}: {message}")
        raise BadResponse(f"HTTP {response.status_code}: {message}")

    async def require_room(self, request: Request) -> int | None:
        """Refuse a prompt that does not fit; return its tokens by the engine's own count, where that was needed.

        Raises:
            ContextOverflow: prompt and answer do not fit; nothing was sent.
        """
        context = self.connected().context_tokens
        room = context - request.max_new_tokens
        # A token is at least one byte, so this many tokens at most.
        bound = sum(len(m["content"].encode("utf-8", "replace")) for m in request.messages) + _TEMPLATE_TOKENS
        if bound <= room and not request.alternatives:
            return None
        try:
            n_tokens = count(await self.count_prompt(request), "the prompt's tokens")
        except (KeyError, TypeError, ValueError) as error:
            raise BadResponse(
                f"the engine did not count the prompt ({type(error).__name__}: {error})"
            ) from None
        if n_tokens > room:
            raise ContextOverflow(
                f"the prompt has {n_tokens} tokens and its answer up to {request.max_new_tokens}, the context "
                f"holds {context}; raise execution.engine.context_tokens or shorten the prompt"
            )
        return n_tokens

    @abstractmethod
    async def count_prompt(self, request: Request) -> int:
        """Return the tokens of a prompt, by the host's tokenizer and template."""

    @abstractmethod
    def raise_for(self, kind: str, message: str) -> None:
        """Raise what an error of the host means; return where its ``type`` says nothing."""

    async def _is_healthy(self, state: EngineState) -> bool:
        try:
            async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
                asked = await client.get(f"{self._url(state)}/health", headers=_with_token(state))
                return asked.status_code == _OK
        except httpx.HTTPError:
            return False

    def _url(self, state: EngineState) -> str:
        if self._rank == 0:
            return str(state.url)
        if self._rank < len(state.urls):
            return state.urls[self._rank]
        raise EngineUnavailable(f"{len(state.urls)} processes hold the model; number {self._rank} was asked")

    def _http(self) -> httpx.AsyncClient:
        state = self.connected()
        if self._client is None:
            self._client = httpx.AsyncClient(
                base_url=self._url(state),
                headers=_with_token(state),
                timeout=httpx.Timeout(self._timeout_s, connect=10),
                limits=httpx.Limits(max_connections=None),
                trust_env=False,  # a proxy has no business between here and loopback
            )
        return self._client


def _with_token(state: EngineState) -> dict[str, str]:
    return {"Authorization": f"Bearer {state.token}"}


def require_text(content: Any) -> str:
    """Return what an answer says; nothing at all is an empty text.

    Raises:
        TypeError: it is not text.
    """
    if content is None:
        return ""
    if not isinstance(content, str):
        raise TypeError(f"content is {type(content).__name__}")
    return content
