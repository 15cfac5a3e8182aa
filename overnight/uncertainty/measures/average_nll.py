"""Average NLL: how improbable a token of the greedy answer is in the mean."""

import math

from overnight.uncertainty.evidence import Evidence
from overnight.uncertainty.measure import Measure, Need


def average_nll(evidence: Evidence) -> float:
    """Return the mean of -log p over the tokens of the greedy answer, in nats.

    LM-Polygraph calls this one perplexity.

    Raises:
        UndefinedMetricError: the answer is empty, or a token has no log-probability.
    """
    nlls = evidence.greedy.nlls()
    return math.fsum(nlls) / len(nlls)


MEASURE = Measure(
    name="average_nll",
    title="average NLL",
    version=1,
    needs=frozenset({Need.LOGPROBS}),
    unit="nats",
    of=average_nll,
)
