"""Asking a llama.cpp host: one request in, one completion out."""

import time
from typing import Any

from overnight.engines.alternatives import read_steps
from overnight.engines.answer_values import count, count_or_none, logprobs, seconds_or_none
from overnight.engines.beginnings import Beginnings
from overnight.engines.loopback import LoopbackClient, require_text
from overnight.engines.neutral_samplers import NEUTRAL
from overnight.engines.protocol import Completion
from overnight.errors import BadResponse, ContextOverflow
from overnight.planning.requests import Request
from overnight.records import FinishReason


class LlamaCppEngine(LoopbackClient):
    """A client of a llama.cpp host."""

    _beginnings: Beginnings | None = None  # of the host as it is now

    async def close(self) -> None:
        """Give connections back."""
        await super().close()
        self._beginnings = None

    async def complete(self, request: Request) -> Completion:
        """Return the answer to one request; see ``Engine``."""
        counted = await self.require_room(request)
        sent = {
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k,
            "max_tokens": request.max_new_tokens,
            "seed": request.seed,
            "stop": list(request.stop),
            **NEUTRAL,
        }
        with_logprobs = request.logprobs or request.wants_steps
        if with_logprobs:
            # One alternative a token: the server lists twenty where none is asked for.
            sent |= {"logprobs": True, "top_logprobs": max(1, request.alternatives)}
        async with self._slots().before(request):
            started = time.perf_counter()
            body = await self.post(
                "/v1/chat/completions",
                {"messages": list(request.messages), "cache_prompt": not request.alternatives, **sent},
            )
            latency_s = time.perf_counter() - started
        try:
            choice = body["choices"][0]
            usage = body["usage"]
            text = require_text(choice["message"]["content"])
            n_generated = count(usage["completion_tokens"], "completion_tokens")
            return Completion(
                text=text,
                finish_reason=FinishReason(choice["finish_reason"]),
                prompt_tokens=count(usage["prompt_tokens"], "prompt_tokens"),
                cached_tokens=_cached_tokens(usage),
                completion_tokens=n_generated,
                token_logprobs=_token_logprobs(choice, text, n_generated) if with_logprobs else None,
                latency_s=latency_s,
                sent=sent,
                prefill_s=_seconds(body, "prompt_ms"),
                decode_s=_seconds(body, "predicted_ms"),
                steps=read_steps(_tokens(choice)) if request.wants_steps else None,
                counted_tokens=counted if request.alternatives else None,
            )
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise BadResponse(f"llama.cpp answered without {error}: {str(body)[:200]}") from None

    def _slots(self) -> Beginnings:
        if self._beginnings is None:
            self._beginnings = Beginnings(self.post, self._state_path.parent, self.connected().slots)
        return self._beginnings

    async def count_prompt(self, request: Request) -> int:
        """Return the tokens of a prompt."""
        rendered = await self.post("/apply-template", {"messages": list(request.messages)})
        counted = await self.post(
            "/tokenize", {"content": rendered["prompt"], "add_special": True, "parse_special": True}
        )
        if not isinstance(counted["tokens"], list):
            raise TypeError(f"tokens is {type(counted['tokens']).__name__}, not a list")
        return len(counted["tokens"])

    def raise_for(self, kind: str, message: str) -> None:
        """Raise what llama.cpp's own names of errors mean."""
        if kind == "exceed_context_size_error":
            raise ContextOverflow(f"{message}; raise execution.engine.context_tokens or shorten the prompt")


def _token_logprobs(choice: dict[str, Any], text: str, n_generated: int) -> tuple[float, ...] | None:
    """Return the log-probabilities of the tokens that were sampled; None where some may be missing.

    Of a character that takes several tokens, llama.cpp shows the last one alone.
    """
    shown = _tokens(choice)
    if len(shown) < n_generated and not text.isascii():
        return None
    return logprobs((token["logprob"] for token in shown), n_generated)


def _cached_tokens(usage: dict[str, Any]) -> int | None:
    return count_or_none((usage.get("prompt_tokens_details") or {}).get("cached_tokens"), "cached_tokens")


def _tokens(choice: dict[str, Any]) -> list[dict[str, Any]]:
    return (choice.get("logprobs") or {}).get("content") or []


def _seconds(body: dict[str, Any], name: str) -> float | None:
    return seconds_or_none((body.get("timings") or {}).get(name), name, per_second=1000)
