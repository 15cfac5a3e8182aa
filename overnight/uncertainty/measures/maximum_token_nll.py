"""Maximum token NLL: how improbable the least probable token is."""

from overnight.uncertainty.evidence import Evidence
from overnight.uncertainty.measure import Measure, Need


def maximum_token_nll(evidence: Evidence) -> float:
    """Return the largest -log p of a token of the greedy answer, in nats.

    Raises:
        UndefinedMetricError: the answer is empty, or a token has no log-probability.
    """
    return max(evidence.greedy.nlls())


MEASURE = Measure(
    name="maximum_token_nll",
    title="maximum token NLL",
    version=1,
    needs=frozenset({Need.LOGPROBS}),
    unit="nats",
    of=maximum_token_nll,
)
