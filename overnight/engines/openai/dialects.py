"""What each variant of the OpenAI API takes: a table, and what follows from it for a trial.

Sources, as of 2026: platform.openai.com/docs/api-reference/chat, docs.fireworks.ai/api-reference/post-chatcompletions,
docs.vllm.ai (OpenAI-compatible server), llama.cpp tools/server/README.md, lmstudio.ai/docs/developer/openai-compat.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from overnight.engines.neutral_samplers import NEUTRAL
from overnight.errors import UsageError
from overnight.spec.engine_openai import Dialect


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What one dialect takes and gives."""

    neutral: Mapping[str, Any]
    """Sent with every request, so that the distribution is the one that was asked for: samplers that the server
    would add by default are off, and a prompt that does not fit is an error."""
    no_top_k: int | None  # what "no limit" is written as; None where there is no top_k at all
    highest_top_k: int | None = None
    highest_temperature: float | None = None
    most_stops: int | None = None
    limit_name: str = "max_tokens"
    gives_logprobs: bool = True
    top_logprobs: int | None = (
        None  # sent with ``logprobs``; None: the default, which is none beside the token itself
    )
    lists_every_model: bool = True  # False: a model that /v1/models leaves out may be served all the same
    context_key: str | None = None  # of the model's entry in /v1/models
    properties_path: str | None = None  # where ``default_generation_settings.n_ctx`` is
    template_path: str | None = None  # messages -> the prompt as a text
    tokenize_path: str | None = None  # a prompt, or messages where there is no template_path -> its tokens


_PENALTIES = {"presence_penalty": 0.0, "frequency_penalty": 0.0}

FACTS: Mapping[Dialect, Facts] = MappingProxyType(
    {
        Dialect.OPENAI: Facts(
            # Its penalties are 0 unless asked for, and its reasoning models refuse to be told so.
            neutral={},
            no_top_k=None,
            highest_temperature=2.0,
            most_stops=4,
            limit_name="max_completion_tokens",  # max_tokens is deprecated, and refused by newer models
        ),
        Dialect.FIREWORKS: Facts(
            # Its own default is to shorten the answer without a word where the context is too small.
            neutral={
                "min_p": 0.0,
                "typical_p": 1.0,
                "repetition_penalty": 1.0,
                **_PENALTIES,
                "context_length_exceeded_behavior": "error",
            },
            no_top_k=0,
            highest_top_k=100,
            highest_temperature=2.0,
            most_stops=4,
            lists_every_model=False,  # deployments of one's own are not in it
        ),
        Dialect.VLLM: Facts(
            # Otherwise the model's generation_config.json decides.
            neutral={"min_p": 0.0, "repetition_penalty": 1.0, **_PENALTIES},
            no_top_k=-1,
            context_key="max_model_len",
            tokenize_path="/tokenize",
        ),
        Dialect.LLAMA_SERVER: Facts(
            neutral={**NEUTRAL, "cache_prompt": True},
            no_top_k=0,
            # One alternative a token: the server lists twenty where none is asked for.
            top_logprobs=1,
            properties_path="/props",
            template_path="/apply-template",
            tokenize_path="/tokenize",
        ),
        Dialect.LM_STUDIO: Facts(
            # It takes no min_p: what its own window says about it holds.
            neutral={"repeat_penalty": 1.0, **_PENALTIES},
            no_top_k=0,
            gives_logprobs=False,
        ),
    }
)


def require_taken(dialect: Dialect, *, temps: Sequence[float], top_k: int, stop: Sequence[str]) -> None:
    """Refuse sampling settings that a server would leave out, and answer otherwise than was asked.

    Raises:
        UsageError: one of them is not taken. ``top_k`` is none of them where nothing is sampled.
    """
    facts = FACTS[dialect]
    highest = max(temps)
    if facts.highest_temperature is not None and highest > facts.highest_temperature:
        raise UsageError(
            f"temps: {highest:g}: dialect {dialect.value} takes up to {facts.highest_temperature:g}; lower it"
        )
    if facts.most_stops is not None and len(stop) > facts.most_stops:
        raise UsageError(
            f"experiment.sampling.stop: {len(stop)} texts: dialect {dialect.value} takes up to "
            f"{facts.most_stops}; take some out"
        )
    if highest == 0 or top_k == 0:
        return
    if facts.no_top_k is None:
        raise UsageError(
            f"top_k: {top_k}: dialect {dialect.value} has no top_k; set it to 0 (no limit) for this model"
        )
    if facts.highest_top_k is not None and top_k > facts.highest_top_k:
        raise UsageError(
            f"top_k: {top_k}: dialect {dialect.value} takes up to {facts.highest_top_k}; lower it, or set 0"
        )
