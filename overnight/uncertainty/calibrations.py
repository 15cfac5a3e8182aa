"""The measures that are probabilities by their nature, and whether these mean what they say."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from overnight.errors import UndefinedMetricError
from overnight.stats.pairs import FloatArray
from overnight.stats.reliability import reliability
from overnight.stats.scored_items import ScoredItems
from overnight.uncertainty.analysis import Calibration


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbabilityOf:
    """How a measure gives a probability; no fit is involved."""

    title: str
    of: Callable[[FloatArray], FloatArray]


def _mean_token(uncertainty: FloatArray) -> FloatArray:
    return np.asarray(np.clip(1.0 - uncertainty, 0.0, 1.0))  # rounding may leave 1 + 1e-16


def _sequence(uncertainty: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-np.maximum(uncertainty, 0.0)))


PROBABILITIES: Final[dict[str, ProbabilityOf]] = {
    "mean_token_probability": ProbabilityOf(title="mean token probability", of=_mean_token),
    "g_nll": ProbabilityOf(title="probability of the whole answer, exp(-G-NLL)", of=_sequence),
}


def calibration(measure: str, items: ScoredItems, *, n_bins: int) -> Calibration:
    """Take a measure as the probability that an answer is right.

    Neither probability claims to be that: the result says how far off it would be to read it so.

    Args:
        measure: one of `PROBABILITIES`.
        items: with a value and a label; one class alone is enough.
        n_bins: at most so many, of about equal numbers.
    """
    probability = PROBABILITIES[measure]
    try:
        found = reliability(probability.of(items.uncertainty), ~items.is_wrong, n_bins=n_bins)
    except UndefinedMetricError as reason:
        return Calibration(
            measure=measure, title=probability.title, reliability=None, undefined_because=str(reason)
        )
    return Calibration(measure=measure, title=probability.title, reliability=found)
