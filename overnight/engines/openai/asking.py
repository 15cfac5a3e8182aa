"""From a request to what one dialect is sent for it."""

from typing import Any

from overnight.engines.openai.dialects import Facts
from overnight.planning.requests import Request


def sampling_fields(facts: Facts, request: Request, *, with_logprobs: bool) -> dict[str, Any]:
    """Return what is sent for a request, without the model and the messages."""
    fields: dict[str, Any] = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        facts.limit_name: request.max_new_tokens,
        "seed": request.seed,
    }
    if facts.no_top_k is not None:
        # Cut off at temperature 0 alone, where it changes nothing: elsewhere the plan refuses what is too high.
        highest = facts.highest_top_k or request.top_k
        fields["top_k"] = min(request.top_k, highest) or facts.no_top_k
    if request.stop:
        fields["stop"] = list(request.stop)
    if with_logprobs and (request.logprobs or request.wants_steps) and facts.gives_logprobs:
        fields["logprobs"] = True
        n_alternatives = request.alternatives or facts.top_logprobs
        if n_alternatives is not None:
            fields["top_logprobs"] = n_alternatives
    fields |= facts.neutral
    if request.alternatives and "cache_prompt" in fields:
        fields["cache_prompt"] = False
    return fields
