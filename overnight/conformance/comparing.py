"""Two engines' greedy answers to the same prompts: where they part, why, and how far apart their G-NLL is.

G-NLL is the negative log-likelihood of the greedy answer: minus the sum of its tokens' log-probabilities, in nats.
Two answers can only be compared as far as they have the same tokens: behind the first other one, the engines answer
other questions.
"""

import math
from dataclasses import dataclass

from overnight.conformance.aligning import Parting, align
from overnight.conformance.tolerance import Tolerance
from overnight.engines.protocol import Completion


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """How two answers to one prompt agree."""

    prompt: str  # its name
    prompt_tokens: tuple[int | None, int | None]
    parting: Parting | None  # None where they are the same
    logprobs: tuple[tuple[float, float], ...]
    """Log-probability by the first engine and by the second, of each token before they part; nats."""

    @property
    def n_common(self) -> int:
        """Tokens before they part."""
        return len(self.logprobs)

    @property
    def differences(self) -> tuple[float, ...]:
        """Log-probability by the first engine less that by the second, of each token before they part; nats."""
        return tuple(first - second for first, second in self.logprobs)

    @property
    def g_nll_difference_per_token(self) -> float | None:
        """G-NLL of the first minus that of the second over the common tokens, divided by their number; nats."""
        return -math.fsum(self.differences) / self.n_common if self.logprobs else None

    @property
    def largest(self) -> float | None:
        """The largest difference of one token, without its sign."""
        return max(map(abs, self.differences), default=None)

    @property
    def has_same_count(self) -> bool:
        """False where the prompt has another number of tokens for each engine; unknown numbers are no difference."""
        first, second = self.prompt_tokens
        return first is None or second is None or first == second

    def problems(self, tolerance: Tolerance) -> tuple[str, ...]:
        """Return what is beyond the tolerance; empty where the engines agree."""
        found = []
        if not self.has_same_count:
            first, second = self.prompt_tokens
            found.append(f"the prompt has {first} tokens for one and {second} for the other")
        mean, allowed = self.g_nll_difference_per_token, tolerance.of_mean(self.n_common)
        if mean is not None and allowed is not None and abs(mean) > allowed:
            found.append(f"G-NLL differs by {abs(mean):.4f} nats a token, {allowed:g} are allowed")
        excess = [
            (abs(one - other) - tolerance.of_token(one, other), one, other) for one, other in self.logprobs
        ]
        if excess and (worst := max(excess))[0] > 0:
            _, one, other = worst
            found.append(
                f"a token differs by {abs(one - other):.4f} nats, {tolerance.of_token(one, other):.4f} are allowed "
                f"where one of the engines gives it {math.exp(min(one, other)):.1%}"
            )
        if self.parting is not None and not self.parting.is_tie(tolerance):
            gaps = ", ".join(
                "more than any listed" if gap is None else f"{gap:.3f}" for gap in self.parting.gaps
            )
            found.append(
                f"the answers part at token {self.parting.place + 1} without a tie (gap {gaps or 'unknown'})"
            )
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How two engines agree over all prompts."""

    compared: tuple[Compared, ...]
    tolerance: Tolerance

    @property
    def problems(self) -> dict[str, tuple[str, ...]]:
        """What is beyond the tolerance, by the prompt's name."""
        found = {each.prompt: each.problems(self.tolerance) for each in self.compared}
        return {prompt: problems for prompt, problems in found.items() if problems}

    @property
    def agrees(self) -> bool:
        """True where there were tokens to compare and nothing is beyond the tolerance."""
        return self.n_tokens > 0 and not self.problems

    @property
    def n_same_count(self) -> int:
        """Prompts with as many tokens for one engine as for the other."""
        return sum(each.has_same_count for each in self.compared)

    @property
    def n_identical(self) -> int:
        """Prompts with the same answer from both."""
        return sum(each.parting is None for each in self.compared)

    @property
    def n_ties(self) -> int:
        """Prompts whose answers part where two tokens are as good as tied."""
        return sum(each.parting is not None and each.parting.is_tie(self.tolerance) for each in self.compared)

    @property
    def n_tokens(self) -> int:
        """Common tokens of all prompts."""
        return sum(each.n_common for each in self.compared)

    @property
    def mean_absolute(self) -> float | None:
        """The mean difference of a token without its sign, over all common tokens; nats."""
        every = [abs(value) for each in self.compared for value in each.differences]
        return math.fsum(every) / len(every) if every else None

    @property
    def worst(self) -> Compared | None:
        """The prompt whose G-NLL differs most a token; None where there are no log-probabilities."""
        known = [each for each in self.compared if each.g_nll_difference_per_token is not None]
        return max(known, key=lambda each: abs(each.g_nll_difference_per_token or 0), default=None)

    @property
    def largest(self) -> float | None:
        """The largest difference of one token over all prompts, without its sign; nats."""
        return max((each.largest for each in self.compared if each.largest is not None), default=None)


def compare(prompt: str, first: Completion, second: Completion) -> Compared:
    """Return how two answers agree.

    Args:
        prompt: its name.
        first: of one engine, with its steps.
        second: of the other.
    """
    aligned = align(first, second)
    return Compared(
        prompt=prompt,
        prompt_tokens=(first.prompt_tokens, second.prompt_tokens),
        parting=aligned.parting,
        logprobs=tuple((one.logprob, other.logprob) for one, other in aligned.shared),
    )
