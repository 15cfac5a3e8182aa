"""Predictive entropy: how improbable sampled answers are in the mean."""

import math

from overnight.errors import UndefinedMetricError
from overnight.uncertainty.evidence import Evidence, Sampled
from overnight.uncertainty.measure import Measure, Need


def predictive_entropy(evidence: Evidence) -> float:
    """Return the Monte-Carlo estimate of the entropy over answers, in nats: the mean of -log p(y) over samples.

    Raises:
        UndefinedMetricError: there are no samples, or one has no likelihood.

    Source:
        Malinin & Gales (2021), ICLR, arXiv:2002.07650.
    """
    nlls = samples_of(evidence).total_nlls()
    return math.fsum(nlls) / len(nlls)


def samples_of(evidence: Evidence) -> Sampled:
    """Return the samples of an item.

    Raises:
        UndefinedMetricError: there are none.
    """
    if evidence.sampled is None or not evidence.sampled.answers:
        raise UndefinedMetricError("no answers were sampled")
    return evidence.sampled


MEASURE = Measure(
    name="predictive_entropy",
    title="predictive entropy",
    version=1,
    needs=frozenset({Need.LOGPROBS, Need.SAMPLES}),
    unit="nats",
    of=predictive_entropy,
)
