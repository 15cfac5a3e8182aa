"""An engine without a model: answers that depend on the request alone, for rehearsals and for measuring us."""

from overnight.engines.protocol import Completion
from overnight.ids import digest
from overnight.planning.requests import Request
from overnight.records import FinishReason


class DryRunEngine:
    """Answers at once with ``dry run`` and a digest; counts no tokens, since none were made."""

    async def complete(self, request: Request) -> Completion:
        """Return the synthetic answer of a request."""
        label = digest([request.messages, request.temperature, request.seed])[:8]
        return Completion(
            text=f"dry run {label}",
            finish_reason=FinishReason.STOP,
            prompt_tokens=None,
            cached_tokens=None,
            completion_tokens=None,
            token_logprobs=None,
            latency_s=0.0,
            sent={
                "temperature": request.temperature,
                "top_p": request.top_p,
                "top_k": request.top_k,
                "max_tokens": request.max_new_tokens,
                "seed": request.seed,
                "stop": list(request.stop),
            },
        )

    async def recover(self) -> None:
        """Return at once: there is nothing that could have died."""

    async def close(self) -> None:
        """Return at once: there is nothing to give back."""
