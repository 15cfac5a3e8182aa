"""Length-normalised entropy: how improbable a token of a sampled answer is in the mean."""

import math

from overnight.uncertainty.evidence import Evidence
from overnight.uncertainty.measure import Measure, Need
from overnight.uncertainty.measures.predictive_entropy import samples_of


def length_normalised_entropy(evidence: Evidence) -> float:
    """Return the mean over samples of their average NLL, in nats a token.

    Raises:
        UndefinedMetricError: there are no samples, or one has no likelihood.

    Source:
        Malinin & Gales (2021), ICLR, arXiv:2002.07650.
    """
    nlls = samples_of(evidence).mean_nlls()
    return math.fsum(nlls) / len(nlls)


MEASURE = Measure(
    name="length_normalised_entropy",
    title="length-normalised entropy",
    version=1,
    needs=frozenset({Need.LOGPROBS, Need.SAMPLES}),
    unit="nats",
    of=length_normalised_entropy,
)
