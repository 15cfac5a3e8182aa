"""The length of the answer: what a measure has to beat."""

from overnight.uncertainty.evidence import Evidence
from overnight.uncertainty.measure import Measure


def n_tokens(evidence: Evidence) -> float:
    """Return how many tokens of the greedy answer count; 0 for an empty one.

    Raises:
        UndefinedMetricError: its tokens do not spell its text.
    """
    return float(evidence.greedy.n_tokens())


MEASURE = Measure(
    name="n_tokens", title="length alone", version=1, needs=frozenset(), unit="tokens", of=n_tokens
)
