"""What an engine could have said instead: the likeliest tokens at every place of a greedy answer."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from overnight.engines.protocol import Completion
from overnight.planning.requests import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One token of an answer, and what else it could have been."""

    token_id: int
    piece: bytes | None  # its text, which may be a part of a character; None where the engine does not say
    best: tuple[
        tuple[int, float], ...
    ]  # ids and log-probabilities (nats) of the likeliest tokens, the first the best
    is_whole: bool = True  # False where the text so far ends inside a character

    def gap_to(self, token_id: int) -> float | None:
        """Return by how many nats a token is less likely than the best; None where it is not among those listed."""
        return next((self.best[0][1] - logprob for each, logprob in self.best if each == token_id), None)


@runtime_checkable
class Chooser(Protocol):
    """An engine that shows its choices."""

    async def complete_with_choices(
        self, request: Request, n_best: int
    ) -> tuple[Completion, tuple[Choice, ...]]:
        """Return the answer to a request with log-probabilities, and the choice behind each of its tokens.

        Raises:
            EngineError: as ``Engine.complete``.
        """
        ...
