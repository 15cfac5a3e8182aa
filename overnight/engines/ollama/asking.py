"""What is sent to ``/api/chat``, and what its answer says."""

import json
import re
from typing import Any

from overnight.engines.alternatives import read_steps
from overnight.engines.answer_values import count_or_none, logprobs, seconds_or_none
from overnight.engines.ollama.connection import Answer
from overnight.engines.ollama.server import ServerVersion
from overnight.engines.protocol import Completion, Step
from overnight.errors import BadResponse, ContextOverflow
from overnight.planning.requests import Request
from overnight.records import FinishReason
from overnight.spec.execution import EngineSettings

# The distribution is the one that was asked for: whatever Ollama or the Modelfile of a tag would do to it is off.
NEUTRAL = {
    "min_p": 0.0,
    "typical_p": 1.0,
    "repeat_penalty": 1.0,
    "repeat_last_n": 0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
# A prompt that does not fit is to be an error, never a shortened question. Both are in the API's types and not in its
# reference; servers from before 2025-10 pass over them, and `completion` finds out by their count.
WHOLE = {"truncate": False, "shift": False}
_TEMPLATE_TOKENS = 64  # what a chat template adds to two messages, generously
_PER_SECOND = 1e9  # nanoseconds


def load_options(settings: EngineSettings, context_tokens: int) -> dict[str, Any]:
    """Return the options that a model is loaded with; a request with others has the server load it again."""
    options: dict[str, Any] = {"num_ctx": context_tokens}
    if settings.threads is not None:
        options["num_thread"] = settings.threads
    if settings.gpu_layers != -1:
        options["num_gpu"] = settings.gpu_layers
    return options


def load_body(tag: str, settings: EngineSettings, context_tokens: int) -> dict[str, Any]:
    """Return the request that loads a model and asks nothing; with the ``shift`` that is asked with later, too."""
    return {
        "model": tag,
        "messages": [],
        "stream": False,
        "keep_alive": settings.ollama.keep_alive,
        "options": load_options(settings, context_tokens),
        **WHOLE,
    }


def chat_body(
    request: Request,
    tag: str,
    settings: EngineSettings,
    *,
    context_tokens: int,
    version: ServerVersion,
    is_thinking: bool,
    model_stops: tuple[str, ...],
) -> dict[str, Any]:
    """Return a request as it is posted.

    Args:
        request: to be answered.
        tag: of the model.
        settings: how the model is held.
        context_tokens: that it was loaded with.
        version: the server's.
        is_thinking: True where the model thinks unless it is told not to.
        model_stops: the stop strings of its Modelfile, which those of a request would replace.
    """
    options = load_options(settings, context_tokens) | {
        "seed": request.seed,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "num_predict": request.max_new_tokens,
        **NEUTRAL,
    }
    if request.stop:
        options["stop"] = list(dict.fromkeys((*request.stop, *model_stops)))
    body = {
        "model": tag,
        "messages": list(request.messages),
        "stream": False,
        "keep_alive": settings.ollama.keep_alive,
        "options": options,
        **WHOLE,
    }
    if is_thinking:
        body["think"] = False
    if (request.logprobs or request.wants_steps) and version.has_logprobs:
        body["logprobs"] = True
    if request.alternatives and version.has_logprobs:
        body["top_logprobs"] = request.alternatives
    return body


def require_room(request: Request, context_tokens: int) -> None:
    """Refuse a prompt that cannot fit, as far as that can be told without a tokeniser; the server has none to offer.

    Raises:
        ContextOverflow: it has more words than there is room for tokens.
    """
    room = context_tokens - request.max_new_tokens
    n_words = fewest_tokens(request)
    if n_words > room:
        raise ContextOverflow(
            f"the prompt has at least {n_words} tokens and its answer up to {request.max_new_tokens}, the context "
            f"holds {context_tokens}; raise execution.engine.context_tokens or shorten the prompt"
        )


def fewest_tokens(request: Request) -> int:
    """Return how many tokens a prompt has at least: the tokenisers in use make no token of two words."""
    return sum(len(message["content"].split()) for message in request.messages)


def most_tokens(request: Request) -> int:
    """Return how many tokens a prompt has at most: a token is at least one byte."""
    n_bytes = sum(len(message["content"].encode("utf-8", "replace")) for message in request.messages)
    return n_bytes + _TEMPLATE_TOKENS


def completion(
    answer: Answer, request: Request, sent: dict[str, Any], version: ServerVersion, latency_s: float
) -> Completion:
    """Return an answer as every engine gives it.

    Raises:
        ContextOverflow: the counts say that the prompt did not fit, or that it was shortened.
        BadResponse: it is not a finished answer.
    """
    try:
        finish_reason = FinishReason(str(answer.done_reason))
    except ValueError:
        raise BadResponse(f"Ollama ended its answer with done_reason {answer.done_reason!r}") from None
    if not answer.done or (answer.eval_count is None and answer.message.content):
        raise BadResponse("Ollama's answer is not finished, or does not count its tokens")
    try:
        return _read(answer, request, sent, version, latency_s, finish_reason)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadResponse(f"Ollama's answer has another shape ({type(error).__name__}: {error})") from None


def _read(
    answer: Answer,
    request: Request,
    sent: dict[str, Any],
    version: ServerVersion,
    latency_s: float,
    finish_reason: FinishReason,
) -> Completion:
    n_generated = count_or_none(answer.eval_count, "eval_count") or 0
    n_prompt = count_or_none(answer.prompt_eval_count, "prompt_eval_count")
    n_cached = count_or_none(answer.prompt_eval_cached_count, "prompt_eval_cached_count")
    _require_whole(answer, request, version, context_tokens=sent["options"]["num_ctx"])
    is_counted = version.counts_whole_prompts
    return Completion(
        text=answer.message.content or "",
        finish_reason=finish_reason,
        prompt_tokens=n_prompt if is_counted else None,
        cached_tokens=n_cached if is_counted else None,
        completion_tokens=n_generated,
        token_logprobs=_token_logprobs(answer, n_generated) if sent.get("logprobs") else None,
        latency_s=latency_s,
        sent={name: value for name, value in sent.items() if name != "messages"},
        prefill_s=seconds_or_none(
            answer.prompt_eval_duration, "prompt_eval_duration", per_second=_PER_SECOND
        ),
        decode_s=seconds_or_none(answer.eval_duration, "eval_duration", per_second=_PER_SECOND),
        steps=_steps(answer) if request.wants_steps and answer.logprobs else None,
    )


def stop_strings(parameters: str | None) -> tuple[str, ...]:
    """Return the stop strings among the parameters that ``/api/show`` lists, one ``name value`` a line."""
    found = []
    for line in (parameters or "").splitlines():
        match = re.fullmatch(r"stop\s+(.+?)\s*", line)
        if match:
            try:
                value = json.loads(match[1])
            except ValueError:  # not every server puts it in quotes
                value = match[1]
            found.append(str(value))
    return tuple(found)


def _require_whole(answer: Answer, request: Request, version: ServerVersion, *, context_tokens: int) -> None:
    """Refuse an answer to less than the whole prompt.

    A server that shortens a prompt fills its context with what it keeps, or half of it: the count is then above the
    room that is left beside the answer, or below what the words of the prompt come to.
    """
    counted = answer.prompt_eval_count
    if counted is None:
        if version.counts_whole_prompts:
            raise BadResponse("Ollama does not say how many tokens of the prompt it evaluated")
        return
    room = context_tokens - request.max_new_tokens
    if counted > room:
        raise ContextOverflow(
            f"the prompt has {counted} tokens or more and its answer up to {request.max_new_tokens}, the context "
            f"holds {context_tokens}; raise execution.engine.context_tokens or shorten the prompt"
        )
    fewest = fewest_tokens(request)
    if version.counts_whole_prompts and counted < fewest:
        raise ContextOverflow(
            f"Ollama evaluated {counted} tokens of a prompt that has at least {fewest}: it was shortened, or the "
            "model's template leaves a part of it out; raise execution.engine.context_tokens or look at the template"
        )


def _token_logprobs(answer: Answer, n_generated: int) -> tuple[float, ...] | None:
    """Return the log-probabilities of the tokens that were sampled.

    None where the server sent none, and where the model thought all the same: they are not those of the answer alone.
    """
    if answer.message.thinking:
        return None
    if not answer.logprobs:
        return None if answer.message.content else ()
    return logprobs((token.logprob for token in answer.logprobs), n_generated)


def _steps(answer: Answer) -> tuple[Step, ...]:
    return read_steps([token.model_dump() for token in answer.logprobs or ()])
