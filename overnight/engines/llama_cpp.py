"""Asking a llama.cpp host: one request in, one completion out."""

import time
from typing import Any

from overnight.engines.choices import Choice
from overnight.engines.loopback import LoopbackClient, require_text
from overnight.engines.neutral_samplers import NEUTRAL
from overnight.engines.protocol import Completion
from overnight.errors import BadResponse, ContextOverflow
from overnight.planning.requests import Request
from overnight.records import FinishReason

_TEMPLATE_TOKENS = 64  # what a chat template adds to two messages, generously


class LlamaCppEngine(LoopbackClient):
    """A client of a llama.cpp host."""

    async def complete(self, request: Request) -> Completion:
        """Return the answer to one request; see ``Engine``."""
        # One alternative a token: the server lists twenty where none is asked for.
        completion, _ = await self._answer(request, n_best=1)
        return completion

    async def complete_with_choices(
        self, request: Request, n_best: int
    ) -> tuple[Completion, tuple[Choice, ...]]:
        """Return the answer to one request, and what else each of its tokens could have been; see ``Chooser``."""
        completion, body = await self._answer(request, n_best)
        return completion, _choices(body["choices"][0])

    async def _answer(self, request: Request, n_best: int) -> tuple[Completion, dict[str, Any]]:
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
            sent |= {"logprobs": True, "top_logprobs": n_best}
        started = time.perf_counter()
        body = await self.post(
            "/v1/chat/completions", {"messages": list(request.messages), "cache_prompt": True, **sent}
        )
        latency_s = time.perf_counter() - started
        try:
            choice = body["choices"][0]
            usage = body["usage"]
            completion = Completion(
                text=require_text(choice["message"]["content"]),
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
        return completion, body

    async def _require_room(self, request: Request) -> None:
        """Refuse a prompt that does not fit, by the engine's own count where a bound does not settle it."""
        context = self.connected().context_tokens
        room = context - request.max_new_tokens
        # A token is at least one byte, so this many tokens at most.
        bound = sum(len(m["content"].encode("utf-8", "replace")) for m in request.messages) + _TEMPLATE_TOKENS
        if bound <= room:
            return
        rendered = await self.post("/apply-template", {"messages": list(request.messages)})
        counted = await self.post(
            "/tokenize", {"content": rendered["prompt"], "add_special": True, "parse_special": True}
        )
        n_tokens = len(counted["tokens"])
        if n_tokens > room:
            raise ContextOverflow(
                f"the prompt has {n_tokens} tokens and its answer up to {request.max_new_tokens}, the context "
                f"holds {context}; raise execution.engine.context_tokens or shorten the prompt"
            )

    def raise_for(self, kind: str, message: str) -> None:
        """Raise what llama.cpp's own names of errors mean."""
        if kind == "exceed_context_size_error":
            raise ContextOverflow(f"{message}; raise execution.engine.context_tokens or shorten the prompt")


def _token_logprobs(choice: dict[str, Any]) -> tuple[float, ...]:
    """Return the log-probabilities of the tokens that were sampled."""
    tokens = (choice.get("logprobs") or {}).get("content") or []
    return tuple(float(token["logprob"]) for token in tokens)


def _choices(choice: dict[str, Any]) -> tuple[Choice, ...]:
    tokens = (choice.get("logprobs") or {}).get("content") or []
    try:
        return tuple(
            Choice(
                token_id=int(token["id"]),
                piece=bytes(token["bytes"]),
                best=tuple((int(other["id"]), float(other["logprob"])) for other in token["top_logprobs"]),
            )
            for token in tokens
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadResponse(f"llama.cpp answered without {error}: {str(choice)[:200]}") from None


def _seconds(body: dict[str, Any], name: str) -> float | None:
    milliseconds = body.get("timings", {}).get(name)
    return None if milliseconds is None else round(float(milliseconds) / 1000, 5)
