"""All that is known of one item when its uncertainty is measured."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from overnight.errors import UndefinedMetricError
from overnight.uncertainty.answer import CountedAnswer, GeneratedAnswer, TokenMask, count_tokens
from overnight.uncertainty.clusters import ClusterIds

Relevance = tuple[float, ...]  # [n_counted] in [0, 1], of the greedy answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """The answers that were drawn at random for one item, beside the greedy one."""

    answers: tuple[CountedAnswer, ...]

    def total_nlls(self) -> tuple[float, ...]:
        """Return ``[n_samples]`` negative log-probabilities of whole answers, in nats.

        Raises:
            UndefinedMetricError: there are no samples, or one has no likelihood.
        """
        return tuple(math.fsum(nlls) for nlls in self._nlls())

    def mean_nlls(self) -> tuple[float, ...]:
        """Return ``[n_samples]`` negative log-probabilities a token, in nats.

        Raises:
            UndefinedMetricError: there are no samples, or one has no likelihood.
        """
        return tuple(math.fsum(nlls) / len(nlls) for nlls in self._nlls())

    def _nlls(self) -> list[tuple[float, ...]]:
        if not self.answers:
            raise UndefinedMetricError("no answers were sampled")
        try:
            return [answer.nlls() for answer in self.answers]
        except UndefinedMetricError as reason:
            raise UndefinedMetricError(f"a sampled answer has no likelihood: {reason}") from reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One item: its greedy answer, and what was had for the measures that need more.

    None where something was not had at all; the measures that need it have no value then.
    """

    item_key: str
    greedy: CountedAnswer
    sampled: Sampled | None = None
    relevance: Relevance | None = None  # x is the question
    relevance_in_context: Relevance | None = None  # x is the passage, where there is one, and the question
    clusters: ClusterIds | None = None  # of the samples, by entailment in both directions
    same_words: ClusterIds | None = None  # of the samples, by equality after normalisation

    def __post_init__(self) -> None:
        """Refuse numbers that do not belong to these tokens or these samples."""
        for name, found in (
            ("relevance", self.relevance),
            ("relevance_in_context", self.relevance_in_context),
        ):
            if found is not None and len(found) != len(self.greedy.tokens):
                raise ValueError(f"{self.item_key}: {len(found)} {name} for {len(self.greedy.tokens)} tokens")
        n_samples = len(self.sampled.answers) if self.sampled else 0
        for name, ids in (("clusters", self.clusters), ("same_words", self.same_words)):
            if ids is not None and len(ids) != n_samples:
                raise ValueError(f"{self.item_key}: {len(ids)} {name} for {n_samples} samples")


def count_samples(answers: Sequence[GeneratedAnswer], mask: TokenMask = TokenMask.CONTENT) -> Sampled:
    """Return sampled answers with the tokens that count."""
    return Sampled(answers=tuple(count_tokens(answer, mask) for answer in answers))
