"""Mean token probability, turned round so that higher means less certain."""

import math

from overnight.uncertainty.evidence import Evidence
from overnight.uncertainty.measure import Measure, Need


def mean_token_probability(evidence: Evidence) -> float:
    """Return 1 less the mean probability of the tokens of the greedy answer, in [0, 1].

    Raises:
        UndefinedMetricError: the answer is empty, or a token has no log-probability.
    """
    nlls = evidence.greedy.nlls()
    return 1.0 - math.fsum(math.exp(-nll) for nll in nlls) / len(nlls)


MEASURE = Measure(
    name="mean_token_probability",
    title="1 - mean token probability",
    version=1,
    needs=frozenset({Need.LOGPROBS}),
    unit="probability",
    of=mean_token_probability,
)
