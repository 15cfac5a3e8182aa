"""Prefix NLL: how improbable the first tokens are."""

import math
from functools import partial

from overnight.uncertainty.evidence import Evidence
from overnight.uncertainty.measure import Measure, Need

LENGTHS = (1, 3, 5)


def prefix_nll(evidence: Evidence, *, length: int) -> float:
    """Return the mean of -log p over the first ``length`` tokens of the greedy answer, in nats.

    A shorter answer counts with the tokens it has, so that short answers are not missing.

    Raises:
        UndefinedMetricError: the answer is empty, or a token has no log-probability.
    """
    first = evidence.greedy.nlls()[:length]
    return math.fsum(first) / len(first)


MEASURES = tuple(
    Measure(
        name=f"prefix_nll_{length}",
        title=f"NLL of the first {length} tokens" if length > 1 else "NLL of the first token",
        version=1,
        needs=frozenset({Need.LOGPROBS}),
        unit="nats",
        of=partial(prefix_nll, length=length),
    )
    for length in LENGTHS
)
