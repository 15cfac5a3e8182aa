"""Asking a llama.cpp host: one request in, one completion out."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx

from overnight.engines.neutral_samplers import NEUTRAL
from overnight.engines.protocol import Completion
from overnight.engines.state import EngineState, read_state
from overnight.errors import BadResponse, ContextOverflow, EngineCrashed, EngineUnavailable, OutOfMemory
from overnight.planning.requests import Request
from overnight.records import FinishReason

_TEMPLATE_TOKENS = 64  # what a chat template adds to two messages, generously
_POLL_S = 0.1
_OK = 200


class LlamaCppEngine:
    """A client of the host whose state file is at ``state_path``."""

    def __init__(self, state_path: Path, *, timeout_s: float, startup_timeout_s: float) -> None:
        self._state_path = state_path
        self._timeout_s = timeout_s
        self._startup_timeout_s = startup_timeout_s
        self._state: EngineState | None = None
        self._client: httpx.AsyncClient | None = None

    async def complete(self, request: Request) -> Completion:
        """Return the answer to one request; see ``Engine``."""
        await self._require_room(request)
        sent = {
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k,
            "max_tokens": request.max_new_tokens,
            "seed": request.seed,
            "stop": list(request.stop),
            **NEUTRAL,
        }
        if request.logprobs:
            # One alternative a token: the server lists twenty where none is asked for.
            sent |= {"logprobs": True, "top_logprobs": 1}
        started = time.perf_counter()
        body = await self._post(
            "/v1/chat/completions", {"messages": list(request.messages), "cache_prompt": True, **sent}
        )
        latency_s = time.perf_counter() - started
        try:
            choice = body["choices"][0]
            usage = body["usage"]
            return Completion(
                text=_text(choice["message"]["content"]),
                finish_reason=FinishReason(choice["finish_reason"]),
                prompt_tokens=usage["prompt_tokens"],
                cached_tokens=usage.get("prompt_tokens_details", {}).get("cached_tokens"),
                completion_tokens=usage["completion_tokens"],
                token_logprobs=_token_logprobs(choice) if request.logprobs else None,
                latency_s=latency_s,
                sent=sent,
                prefill_s=_seconds(body, "prompt_ms"),
                decode_s=_seconds(body, "predicted_ms"),
            )
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise BadResponse(f"llama.cpp answered without {error}: {str(body)[:200]}") from None

    async def recover(self) -> None:
        """Return when the host serves again; see ``Engine``."""
        await self.close()
        deadline = time.monotonic() + self._startup_timeout_s
        while time.monotonic() < deadline:
            state = read_state(self._state_path)
            if state.status == "failed":
                if state.error_kind == OutOfMemory.__name__:
                    raise OutOfMemory(str(state.error))
                raise EngineCrashed(f"the engine died and cannot be loaded again: {state.error}")
            if state.status == "serving" and await self._is_healthy(state):
                return
            await asyncio.sleep(_POLL_S)
        raise EngineCrashed(f"the engine did not come back within {self._startup_timeout_s:g} s")

    async def close(self) -> None:
        """Give connections back."""
        if self._client is not None:
            await self._client.aclose()
        self._client = self._state = None

    async def _require_room(self, request: Request) -> None:
        """Refuse a prompt that does not fit, by the engine's own count where a bound does not settle it."""
        context = self._connected().context_tokens
        room = context - request.max_new_tokens
        # A token is at least one byte, so this many tokens at most.
        bound = sum(len(m["content"].encode("utf-8", "replace")) for m in request.messages) + _TEMPLATE_TOKENS
        if bound <= room:
            return
        rendered = await self._post("/apply-template", {"messages": list(request.messages)})
        counted = await self._post(
            "/tokenize", {"content": rendered["prompt"], "add_special": True, "parse_special": True}
        )
        n_tokens = len(counted["tokens"])
        if n_tokens > room:
            raise ContextOverflow(
                f"the prompt has {n_tokens} tokens and its answer up to {request.max_new_tokens}, the context "
                f"holds {context}; raise execution.engine.context_tokens or shorten the prompt"
            )

    async def _is_healthy(self, state: EngineState) -> bool:
        try:
            async with httpx.AsyncClient(base_url=str(state.url), timeout=5) as client:
                return (await client.get("/health")).status_code == _OK
        except httpx.HTTPError:
            return False

    def _connected(self) -> EngineState:
        if self._state is None:
            state = read_state(self._state_path)
            if state.status != "serving":
                raise EngineUnavailable(f"the engine is {state.status}")
            self._state = state
        return self._state

    def _http(self) -> httpx.AsyncClient:
        state = self._connected()
        if self._client is None:
            self._client = httpx.AsyncClient(
                base_url=str(state.url),
                headers={"Authorization": f"Bearer {state.token}"},
                timeout=httpx.Timeout(self._timeout_s, connect=10),
                limits=httpx.Limits(max_connections=None),
                trust_env=False,  # a proxy has no business between here and loopback
            )
        return self._client

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            response = await self._http().post(path, json=body)
        except httpx.TimeoutException:
            raise BadResponse(
                f"no answer within {self._timeout_s:g} s; raise execution.request_timeout_s"
            ) from None
        except (httpx.HTTPError, RuntimeError) as error:  # RuntimeError: closed by recover() meanwhile
            raise EngineUnavailable(f"the engine is gone ({type(error).__name__})") from None
        try:
            value = response.json()
        except ValueError:
            raise BadResponse(f"HTTP {response.status_code}, not JSON: {response.text[:200]!r}") from None
        if response.status_code == _OK and isinstance(value, dict):
            return value
        problem = value.get("error", {}) if isinstance(value, dict) else {}
        message = problem.get("message", str(value)[:200]) if isinstance(problem, dict) else str(problem)
        if isinstance(problem, dict) and problem.get("type") == "exceed_context_size_error":
            raise ContextOverflow(f"{message}; raise execution.engine.context_tokens or shorten the prompt")
        if response.status_code in (502, 503):
            raise EngineUnavailable(f"HTTP {response.status_code}: {message}")
        raise BadResponse(f"HTTP {response.status_code}: {message}")


def _token_logprobs(choice: dict[str, Any]) -> tuple[float, ...]:
    """Return the log-probabilities of the tokens that were sampled."""
    tokens = (choice.get("logprobs") or {}).get("content") or []
    return tuple(float(token["logprob"]) for token in tokens)


def _seconds(body: dict[str, Any], name: str) -> float | None:
    milliseconds = body.get("timings", {}).get(name)
    return None if milliseconds is None else round(float(milliseconds) / 1000, 5)


def _text(content: Any) -> str:
    if content is None:
        return ""
    if not isinstance(content, str):
        raise TypeError(f"content is {type(content).__name__}")
    return content
