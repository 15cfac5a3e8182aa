"""Perplexity: among how many equally likely tokens the model chose, in the geometric mean."""

import math

from overnight.errors import UndefinedMetricError
from overnight.uncertainty.evidence import Evidence
from overnight.uncertainty.measure import Measure, Need
from overnight.uncertainty.measures.average_nll import average_nll


def perplexity(evidence: Evidence) -> float:
    """Return e to the average NLL, at least 1; it ranks answers exactly as the average NLL does.

    Raises:
        UndefinedMetricError: the answer is empty, a token has no log-probability, or the value is no float.
    """
    nats = average_nll(evidence)
    try:
        return math.exp(nats)
    except OverflowError as reason:
        raise UndefinedMetricError(f"e to {nats:g} nats is too large a number") from reason


MEASURE = Measure(
    name="perplexity",
    title="perplexity",
    version=1,
    needs=frozenset({Need.LOGPROBS}),
    unit="1",
    of=perplexity,
)
