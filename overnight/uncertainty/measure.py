"""What a measure of uncertainty is."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from overnight.uncertainty.evidence import Evidence


class Need(StrEnum):
    """What a measure cannot do without, beyond the greedy answer and its tokens."""

    LOGPROBS = "logprobs"  # of the tokens of every answer it looks at
    SAMPLES = "samples"  # answers drawn at random
    RELEVANCE = "relevance"  # a similarity model
    ENTAILMENT = "entailment"  # an entailment model


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One number an item; higher always means less certain."""

    name: str
    title: str  # as it stands in tables and figures
    version: int  # goes up whenever a value changes
    needs: frozenset[Need]
    unit: str  # "nats", "probability", "tokens" or "1"
    of: Callable[[Evidence], float]
    """Return the value of one item.

    Raises:
        UndefinedMetricError: it has none; the message says why.
    """
