"""G-NLL: how improbable the greedy answer is as a whole."""

import math

from overnight.uncertainty.evidence import Evidence
from overnight.uncertainty.measure import Measure, Need


def g_nll(evidence: Evidence) -> float:
    """Return the sum of -log p over the tokens of the greedy answer, in nats.

    It grows with the length of the answer: look at it beside `n_tokens`.

    Raises:
        UndefinedMetricError: the answer is empty, or a token has no log-probability.

    Source:
        Aichberger, Schweighofer, Hochreiter (2024), arXiv:2412.15176. Where the end token is to be in the
        sum, count with `TokenMask.WITH_END_TOKEN`.
    """
    return math.fsum(evidence.greedy.nlls())


MEASURE = Measure(
    name="g_nll", title="G-NLL", version=1, needs=frozenset({Need.LOGPROBS}), unit="nats", of=g_nll
)
