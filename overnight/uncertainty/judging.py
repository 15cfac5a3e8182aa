"""What a judge model said of an answer, read from the probabilities of its first token."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from overnight.engines.protocol import Token
from overnight.errors import UndefinedMetricError

_YES, _NO = "yes", "no"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How likely a judge was to say yes and to say no; None where it is not among the alternatives.

    Where the judge was asked and there is no reply to read, ``error`` says what came instead.
    """

    yes_logprob: float | None  # nats
    no_logprob: float | None  # nats
    judge: str  # model and revision, as they stand in the results
    error: str | None = None  # its kind and its message

    @property
    def mass(self) -> float:
        """How much of the probability of the first token is on yes or no, in [0, 1]; the rest is on other words."""
        logs = [log for log in (self.yes_logprob, self.no_logprob) if log is not None]
        return min(1.0, math.fsum(map(math.exp, logs)))

    def says_yes(self) -> bool:
        """Return whether yes is the likelier of the two.

        Of two, the one that is not among the likeliest tokens is less likely than the one that is.

        Raises:
            UndefinedMetricError: there is no reply, neither is among the alternatives, or both are equally likely.
        """
        if self.error is not None:
            raise UndefinedMetricError(f"the judge gave no verdict: {self.error}")
        yes = -math.inf if self.yes_logprob is None else self.yes_logprob
        no = -math.inf if self.no_logprob is None else self.no_logprob
        if yes == no == -math.inf:
            raise UndefinedMetricError("the judge had neither yes nor no among its likeliest tokens")
        if yes == no:
            raise UndefinedMetricError("the judge had yes and no equally likely")
        return yes > no


def read_judgement(alternatives: Iterable[Token], judge: str) -> Judgement:
    """Return a judgement from the likeliest tokens of the first step of a judge's reply.

    A token is a yes or a no only if it is that word, whatever its case and the whitespace around it: "know" and
    "not" are neither. Spellings of one word add up.

    Args:
        alternatives: the likeliest tokens, without repetitions.
        judge: model and revision.
    """
    logs: dict[str, list[float]] = {_YES: [], _NO: []}
    for token in alternatives:
        word = token.piece.decode("utf-8", "replace").strip().lower()
        if word in logs and not token.ends and math.isfinite(token.logprob):
            logs[word].append(token.logprob)
    return Judgement(yes_logprob=_sum(logs[_YES]), no_logprob=_sum(logs[_NO]), judge=judge)


def _sum(logs: list[float]) -> float | None:
    return math.log(math.fsum(map(math.exp, logs))) if logs else None
