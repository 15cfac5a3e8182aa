"""What a text-pair model says of a pair of texts."""

from typing import NamedTuple


class PairValues(NamedTuple):
    """Of one pair."""

    values: list[float]  # a score; or probabilities, that of entailment first
    is_cut: bool  # the texts were longer than the model reads, and lost their beginnings
