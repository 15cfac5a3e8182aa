"""Which replies show what they were asked to show, as a judge has it: a number from 0 to 100."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from overnight.traits.instructions import Polarity

LEAST_MASS = 0.25
_HIGHEST = 100
_INTEGER = re.compile(r"\s*([0-9]{1,3})\s*")


def judge_score(likeliest: Iterable[tuple[str, float]], *, least_mass: float = LEAST_MASS) -> float | None:
    """Return the score that a judge means by its first token: the mean of the integers it might have said.

    ``sum(p * value) / sum(p)`` over those of its likeliest first tokens that are an integer from 0 to 100. Spaces
    around a token do not count, and tokens of one value add up.

    The judge's tokenizer must have a token for each of these numbers, as those of GPT-4 and Llama 3 have; of one that
    writes digit by digit (Gemma, Qwen) the first digit would be taken for the score, so have such a judge write its
    number out.

    Args:
        likeliest: token and log-probability in nats.
        least_mass: what the integers' probabilities must add up to.

    Returns:
        A value in [0, 100]; None where the mass is less, because then the judge was about to say something else.
        None is no score: it is neither high nor low.

    Source:
        Betley et al. (2025), arXiv:2502.17424, and Chen et al. (2025), arXiv:2507.21509, whose judge drops what has
        less than a quarter of the mass and divides by the mass; undivided, a certain 90 at mass .5 would be 45.
    """
    mass = weighted = 0.0
    for token, logprob in likeliest:
        number = _INTEGER.fullmatch(token)
        if number is None or int(number[1]) > _HIGHEST:
            continue
        share = math.exp(logprob)
        mass += share
        weighted += share * int(number[1])
    return None if mass < least_mass or mass <= 0 else weighted / mass


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From which score on a reply shows the trait, and up to which it lacks it; in points of 100."""

    positive_at_least: float = 60.0
    negative_at_most: float = 40.0

    def keeps(self, polarity: Polarity, score: float) -> bool:
        """True where a reply shows what it was asked to show."""
        if polarity is Polarity.POSITIVE:
            return score >= self.positive_at_least
        return score <= self.negative_at_most


DEFAULT_THRESHOLDS = Thresholds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Which replies of one side are kept, and what became of the others."""

    indices: tuple[int, ...]
    n_unscored: int  # the judge gave no number
    n_off_side: int  # scored, and not as it was asked for


def keep_replies(
    polarity: Polarity, scores: Sequence[float | None], thresholds: Thresholds = DEFAULT_THRESHOLDS
) -> Kept:
    """Return which replies of one side show what they were asked to show; one without a score is on neither side."""
    scored = [(index, score) for index, score in enumerate(scores) if score is not None]
    kept = tuple(index for index, score in scored if thresholds.keeps(polarity, score))
    return Kept(
        indices=kept,
        n_unscored=len(scores) - len(scored),
        n_off_side=len(scored) - len(kept),
    )
