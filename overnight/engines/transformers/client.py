"""Asking a transformers host: one request in, one completion out; the host makes batches of what waits."""

import time
from typing import Any

from overnight.engines.alternatives import read_steps
from overnight.engines.loopback import LoopbackClient, require_text
from overnight.engines.protocol import Completion
from overnight.errors import BadResponse, ContextOverflow, OutOfMemory
from overnight.planning.requests import Request
from overnight.records import FinishReason

# The order in which the distribution is cut and scaled; nothing else touches it.
SAMPLERS = ["top_k", "top_p", "temperature"]
_TEMPLATE_TOKENS = 64  # what a chat template adds to two messages, generously


class TransformersEngine(LoopbackClient):
    """A client of a transformers host."""

    async def complete(self, request: Request) -> Completion:
        """Return the answer to one request; see ``Engine``.

        Raises:
            OutOfMemory: not even this request alone fits.
        """
        counted = await self._require_room(request)
        sent = {
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k,
            "max_new_tokens": request.max_new_tokens,
            "seed": request.seed,
            "stop": list(request.stop),
            "logprobs": request.logprobs or request.alternatives > 0,
        }
        if request.alternatives:
            sent["alternatives"] = request.alternatives
        started = time.perf_counter()
        body = await self.post("/complete", {"messages": list(request.messages), **sent})
        latency_s = time.perf_counter() - started
        try:
            logprobs = tuple(map(float, body["token_logprobs"])) if sent["logprobs"] else None
            return Completion(
                text=require_text(body["text"]),
                finish_reason=FinishReason(body["finish_reason"]),
                prompt_tokens=body["prompt_tokens"],
                cached_tokens=body["cached_tokens"],
                completion_tokens=body["completion_tokens"],
                token_logprobs=logprobs,
                latency_s=latency_s,
                sent=sent | {"samplers": SAMPLERS, "template": body["template"]},
                prefill_s=body["prefill_s"],
                decode_s=body["decode_s"],
                steps=read_steps(body["steps"]) if request.alternatives else None,
                counted_tokens=counted if request.alternatives else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadResponse(f"the transformers host answered without {error}: {str(body)[:200]}") from None

    def raise_for(self, kind: str, message: str) -> None:
        """Raise what the host's names of errors mean."""
        if kind == "ContextOverflow":
            raise ContextOverflow(f"{message}; raise execution.engine.context_tokens or shorten the prompt")
        if kind == "OutOfMemory":
            raise OutOfMemory(message)

    async def health(self) -> dict[str, Any]:
        """Return what the host holds, how it works, and how often it had to halve a batch."""
        return await self.ask("GET", "/health")

    async def _require_room(self, request: Request) -> int | None:
        """Refuse a prompt that does not fit; return its tokens by the engine's own count, where that was needed."""
        context = self.connected().context_tokens
        room = context - request.max_new_tokens
        # A token is at least one byte, so this many tokens at most.
        bound = sum(len(m["content"].encode("utf-8", "replace")) for m in request.messages) + _TEMPLATE_TOKENS
        if bound <= room and not request.alternatives:
            return None
        n_tokens: int = (await self.post("/count", {"messages": list(request.messages)}))["prompt_tokens"]
        if n_tokens > room:
            raise ContextOverflow(
                f"the prompt has {n_tokens} tokens and its answer up to {request.max_new_tokens}, the context "
                f"holds {context}; raise execution.engine.context_tokens or shorten the prompt"
            )
        return n_tokens
