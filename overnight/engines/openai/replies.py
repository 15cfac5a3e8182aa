"""Reading what a server answers: the answer itself, and what it says of its models."""

from collections.abc import Mapping, Sequence
from typing import Any

from overnight.engines.alternatives import read_steps
from overnight.engines.answer_values import count_or_none, logprobs, seconds_or_none
from overnight.engines.openai.dialects import Facts
from overnight.engines.protocol import Completion
from overnight.errors import BadResponse
from overnight.records import FinishReason

_FINISHED = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}
_WHY_NO_ANSWER = {
    "content_filter": "the server's content filter withheld the answer",
    "tool_calls": "the model asked for a tool instead of answering",
    "function_call": "the model asked for a tool instead of answering",
}


def read_completion(
    body: Mapping[str, Any],
    *,
    with_logprobs: bool,
    latency_s: float,
    sent: dict[str, Any],
    with_steps: bool = False,
) -> Completion:
    """Return the answer in a body of ``/v1/chat/completions``.

    Raises:
        BadResponse: there is none: it was withheld, is not complete, or the body has another shape.
    """
    try:
        choice = body["choices"][0]
        message = choice["message"]
        reason = choice["finish_reason"]
        if reason not in _FINISHED:
            why = _WHY_NO_ANSWER.get(reason, "the server did not finish the answer")
            raise BadResponse(f"{why} (finish_reason {reason!r})")
        usage = body.get("usage") or {}
        n_generated = _count(usage, "completion_tokens")
        return Completion(
            text=_text(message),
            finish_reason=_FINISHED[reason],
            prompt_tokens=_count(usage, "prompt_tokens"),
            cached_tokens=_count(usage.get("prompt_tokens_details") or {}, "cached_tokens"),
            completion_tokens=n_generated,
            token_logprobs=_token_logprobs(choice, n_generated) if with_logprobs else None,
            latency_s=latency_s,
            sent=sent,
            prefill_s=_seconds(body, "prompt_ms"),
            decode_s=_seconds(body, "predicted_ms"),
            steps=read_steps((choice.get("logprobs") or {}).get("content") or ()) if with_steps else None,
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        problem = f"{type(error).__name__} {error}"
        raise BadResponse(f"the answer has another shape ({problem}): {str(body)[:200]}") from None


def served_models(body: Any) -> dict[str, Mapping[str, Any]]:
    """Return the entries of ``/v1/models`` by every name that the model answers to; empty for another shape."""
    listed = body.get("data") if isinstance(body, dict) else body
    found: dict[str, Mapping[str, Any]] = {}
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("id"), str):
            aliases = entry.get("aliases")
            listed_aliases = aliases if isinstance(aliases, list) else []
            names = [entry["id"], *(alias for alias in listed_aliases if isinstance(alias, str))]
            found |= dict.fromkeys(names, entry)
    return found


def served_context(facts: Facts, entry: Mapping[str, Any], properties: Any) -> int | None:
    """Return how many tokens prompt and answer may have together; None where the server does not say."""
    value = entry.get(facts.context_key) if facts.context_key else None
    if value is None and isinstance(properties, dict):
        settings = properties.get("default_generation_settings")
        value = settings.get("n_ctx") if isinstance(settings, dict) else None
    return _number(value) or None


def not_served(model: str, names: Sequence[str], base_url: str) -> str:
    """Return the line for a model that a server does not have."""
    shown = ", ".join(sorted(set(names))[:10]) or "none"
    more = f" and {len(set(names)) - 10} more" if len(set(names)) > 10 else ""  # noqa: PLR2004
    return f"{base_url} does not serve {model!r}; it serves {shown}{more}: correct `source` or load the model there"


def counted_tokens(body: Any) -> int | None:
    """Return the number of tokens in the answer of a tokenizer; None for another shape."""
    if not isinstance(body, dict):
        return None
    counted = _number(body.get("count"))
    if counted is not None:
        return counted
    return len(body["tokens"]) if isinstance(body.get("tokens"), list) else None


def _number(value: Any) -> int | None:
    """Return a count; None for anything else."""
    try:
        return count_or_none(value, "")
    except (TypeError, ValueError):
        return None


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if content is None and isinstance(message.get("refusal"), str):
        raise BadResponse(f"the server withheld the answer: {message['refusal'][:200]}")
    if content is None:
        return ""
    if not isinstance(content, str):
        raise TypeError(f"content is {type(content).__name__}")
    return content


def _count(usage: Mapping[str, Any], name: str) -> int | None:
    value = usage.get(name)
    return count_or_none(value, name)


def _token_logprobs(choice: Mapping[str, Any], n_generated: int | None) -> tuple[float, ...] | None:
    """Return the log-probabilities of the tokens that were sampled; None where there are none.

    The chat API gives a list of tokens; the older shape, a list of numbers, is still around.
    """
    given = choice.get("logprobs") or {}
    tokens = given.get("content")
    values = given.get("token_logprobs") if tokens is None else [token["logprob"] for token in tokens]
    return logprobs(values, n_generated) if values else None


def _seconds(body: Mapping[str, Any], name: str) -> float | None:
    milliseconds = (body.get("timings") or {}).get(name)  # of llama.cpp
    return seconds_or_none(milliseconds, name, per_second=1000)
