"""Every measure there is, one file each; higher always means less certain."""

from collections.abc import Collection
from typing import Final

from overnight.uncertainty.measure import Measure, Need
from overnight.uncertainty.measures import (
    average_nll,
    g_nll,
    length_normalised_entropy,
    maximum_token_nll,
    mean_token_probability,
    n_tokens,
    perplexity,
    predictive_entropy,
    prefix_nll,
    rw_g_nll,
    semantic_entropy,
    token_sar,
)

MEASURES: Final[dict[str, Measure]] = {
    measure.name: measure
    for measure in (
        g_nll.MEASURE,
        average_nll.MEASURE,
        perplexity.MEASURE,
        mean_token_probability.MEASURE,
        maximum_token_nll.MEASURE,
        *prefix_nll.MEASURES,
        rw_g_nll.MEASURE,
        token_sar.MEASURE,
        predictive_entropy.MEASURE,
        length_normalised_entropy.MEASURE,
        *semantic_entropy.MEASURES,
        n_tokens.MEASURE,
    )
}


def measures_with(had: Collection[Need]) -> tuple[Measure, ...]:
    """Return the measures that need nothing but what is had, in the order of the registry."""
    return tuple(measure for measure in MEASURES.values() if measure.needs <= set(had))
