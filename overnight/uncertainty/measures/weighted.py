"""A mean of token NLLs in which tokens weigh differently."""

import math
from collections.abc import Sequence

from overnight.errors import UndefinedMetricError


def weighted_nll(nlls: Sequence[float], weights: Sequence[float]) -> float:
    """Return the sum of w_t (-log p_t) over the sum of w_t, in nats.

    Args:
        nlls: ``[n_tokens]``.
        weights: ``[n_tokens]``, none below 0.

    Raises:
        UndefinedMetricError: the weights sum to 0: no token counts. Another measure, of another scale, is never
            put in its place.
        ValueError: there is not one weight a token.
    """
    if len(weights) != len(nlls):
        raise ValueError(f"{len(weights)} weights for {len(nlls)} tokens")
    total = math.fsum(weights)
    if total <= 0.0:
        raise UndefinedMetricError("the weights of all tokens are 0")
    return math.fsum(weight * nll for weight, nll in zip(weights, nlls, strict=True)) / total
