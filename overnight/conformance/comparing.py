"""Two engines' greedy answers to the same prompts: where they part, why, and how far apart their G-NLL is.

G-NLL is the negative log-likelihood of the greedy answer: minus the sum of its tokens' log-probabilities, in nats.
Two answers can only be compared as far as they have the same tokens: behind the first other one, the engines answer
other questions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from overnight.conformance.tolerance import Tolerance
from overnight.engines.choices import Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one engine answered to one prompt, greedily."""

    prompt_tokens: int | None  # None where the engine does not say
    text: str
    finish_reason: str
    token_logprobs: tuple[float, ...] | None  # nats
    choices: tuple[Choice, ...] | None  # None where the engine does not show them


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """Where two answers have other tokens for the first time."""

    place: int  # 0-based, in tokens
    gaps: tuple[float | None, ...]
    """By how many nats an engine found the other's token less likely than its own, of each engine that shows its
    choices; None where the other's token is not among them. Where one engine shows no ids, the other's gap is that to
    its second best token: at most the gap that is meant."""

    def is_tie(self, tolerance: Tolerance) -> bool:
        """True where both tokens are as good as equally likely, by every engine that shows its choices."""
        return bool(self.gaps) and all(gap is not None and gap <= tolerance.token for gap in self.gaps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """How two answers to one prompt agree."""

    prompt: str  # its name
    prompt_tokens: tuple[int | None, int | None]
    n_common: int  # tokens before they part
    parting: Parting | None  # None where they are the same
    differences: tuple[float, ...] | None
    """Log-probability by the first engine minus that by the second (nats), of each common token; None where an engine
    gives none."""

    @property
    def g_nll_difference_per_token(self) -> float | None:
        """G-NLL of the first minus that of the second over the common tokens, divided by their number; nats."""
        return -math.fsum(self.differences) / len(self.differences) if self.differences else None

    @property
    def largest(self) -> float | None:
        """The largest difference of one token, without its sign."""
        return max(map(abs, self.differences)) if self.differences else None

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
        if self.differences is None:
            found.append("an engine gives no log-probabilities")
        mean, largest = self.g_nll_difference_per_token, self.largest
        allowed = tolerance.of_mean(self.n_common)
        if mean is not None and abs(mean) > allowed:
            found.append(f"G-NLL differs by {abs(mean):.4f} nats a token, {allowed:g} are allowed")
        if largest is not None and largest > tolerance.token:
            found.append(f"a token differs by {largest:.4f} nats, {tolerance.token:g} are allowed")
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
        """True where there was something to compare and nothing is beyond the tolerance."""
        return bool(self.compared) and not self.problems

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
        return sum(len(each.differences or ()) for each in self.compared)

    @property
    def mean_absolute(self) -> float | None:
        """The mean difference of a token without its sign, over all common tokens; nats."""
        every = [abs(value) for each in self.compared for value in each.differences or ()]
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


def compare(prompt: str, first: Answer, second: Answer) -> Compared:
    """Return how two answers agree.

    Args:
        prompt: its name.
        first: of one engine; it may show no choices.
        second: of the other.
    """
    n_same = _n_same_tokens(first, second)
    limits = [len(each.token_logprobs) for each in (first, second) if each.token_logprobs is not None]
    n_common = min([n_same, *limits])
    differences = None
    if first.token_logprobs is not None and second.token_logprobs is not None:
        pairs = zip(first.token_logprobs[:n_common], second.token_logprobs[:n_common], strict=True)
        differences = tuple(one - other for one, other in pairs)
    return Compared(
        prompt=prompt,
        prompt_tokens=(first.prompt_tokens, second.prompt_tokens),
        n_common=n_common,
        parting=None
        if _is_same(first, second, n_same)
        else Parting(place=n_same, gaps=_gaps(first, second, n_same)),
        differences=differences,
    )


def _is_same(first: Answer, second: Answer, n_same: int) -> bool:
    if (first.text, first.finish_reason) != (second.text, second.finish_reason):
        return False
    # Equal texts may be other tokens; then the engines did part. The token that ends an answer may be missing in one.
    lengths = [len(each.choices) for each in (first, second) if each.choices is not None]
    return not lengths or n_same >= min(lengths)


def _n_same_tokens(first: Answer, second: Answer) -> int:
    """Return how many tokens both begin with: by ids, or by the text where one of them shows no ids."""
    if first.choices is not None and second.choices is not None:
        pairs = zip(first.choices, second.choices, strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0].token_id == pair[1].token_id, pairs))
    if first.text == second.text:
        return max(len(each.choices or each.token_logprobs or ()) for each in (first, second))
    if first.choices is not None:
        return _n_in_text(first.choices, second.text)
    return _n_in_text(second.choices or (), first.text)


def _n_in_text(choices: Sequence[Choice], text: str) -> int:
    """Return how many tokens a text begins with."""
    wanted = text.encode("utf-8", "replace")
    begun = b""
    for n_tokens, choice in enumerate(choices):
        begun += choice.piece or b""
        if choice.piece is None or not wanted.startswith(begun):
            return n_tokens
    return len(choices)


def _gaps(first: Answer, second: Answer, place: int) -> tuple[float | None, ...]:
    ours = _at(first, place)
    theirs = _at(second, place)
    if first.choices is not None and second.choices is not None:
        if ours is None or theirs is None:
            return ()
        return ours.gap_to(theirs.token_id), theirs.gap_to(ours.token_id)
    shown = ours or theirs
    if shown is None:
        return ()
    return (shown.best[0][1] - shown.best[1][1] if len(shown.best) > 1 else None,)


def _at(answer: Answer, place: int) -> Choice | None:
    return answer.choices[place] if answer.choices is not None and place < len(answer.choices) else None
