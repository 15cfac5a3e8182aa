"""What every engine does, whatever holds the model."""

import math
from dataclasses import dataclass
from typing import Any, Protocol

from overnight.planning.requests import Request
from overnight.records import FinishReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token that a model generated, or could have."""

    piece: bytes  # what it adds to the text; nothing where it ends the answer
    logprob: float  # nats, by the model before any sampling setting
    ends: bool = False  # it ends the answer
    id: int | None = None  # in the vocabulary of the model, where the engine says it


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of an answer: the token that was taken, and the likeliest ones there were."""

    taken: Token
    likeliest: tuple[Token, ...]  # the taken one may be among them


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One answer as the engine gave it, before any reading of it."""

    text: str
    finish_reason: FinishReason
    prompt_tokens: int | None  # evaluated or taken from the prefix cache
    cached_tokens: int | None  # of these, taken from the prefix cache
    completion_tokens: int | None
    token_logprobs: tuple[float, ...] | None
    """Of the tokens that were generated, by id, in nats, by the model before any sampling setting; the token that
    ends the answer is in it where the engine gives it. None where they were not asked for."""
    latency_s: float
    sent: dict[str, Any]  # the body that was posted, without the messages
    prefill_s: float | None = None  # evaluating the prompt, as the engine measured it
    decode_s: float | None = None  # generating, as the engine measured it
    steps: tuple[Step, ...] | None = None  # where alternatives were asked for, and the engine gives them
    counted_tokens: int | None = None
    """Of the prompt, by the engine's tokenizer and not by what it evaluated; where alternatives were asked for."""

    @property
    def mean_logprob(self) -> float | None:
        """The mean log-probability of the tokens, in nats; None without any."""
        return math.fsum(self.token_logprobs) / len(self.token_logprobs) if self.token_logprobs else None


class Engine(Protocol):
    """A model that can be asked.

    Implementations raise nothing but the ``EngineError`` family for what goes wrong between here and there.
    """

    async def complete(self, request: Request) -> Completion:
        """Return the answer to one request.

        Raises:
            ContextOverflow: prompt and answer do not fit; nothing was sent.
            EngineUnavailable: there is nobody to ask, or no answer came in time.
            BadResponse: what came back is not an answer.
        """
        ...

    async def recover(self) -> None:
        """Return when the engine can be asked again after it was unavailable.

        Raises:
            EngineCrashed: it will not come back.
        """
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...
