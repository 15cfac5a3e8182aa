"""Which quantiles of resampled values bound the bias-corrected and accelerated interval."""

import numpy as np
from scipy import stats

from overnight.stats.pairs import FloatArray

TIE = 1e-12  # of the largest value: values closer than this are equal, so rounding decides nothing


def bca_shares(
    estimate: float,
    resampled: FloatArray,
    left_out: FloatArray,
    tail: float,
    *,
    scale: float,
    name: str = "estimate",
) -> tuple[float, float] | str:
    """Return the two shares in (0, 1), or why there are none.

    Args:
        estimate: of the whole sample.
        resampled: ``[R]`` of resamples; one that equals the estimate lies half below it.
        left_out: ``[C]`` of the sample without each of its independent units.
        tail: share outside on each side.
        scale: a magnitude of the values, of which `TIE` is a part.
        name: of the estimate, for the reason.

    Source:
        Efron & Tibshirani (1993), An Introduction to the Bootstrap, section 14.3.
    """
    spread = left_out.mean() - left_out
    if np.abs(spread).max() <= TIE * scale:
        return f"the {name} is the same without any of {len(left_out)}: the jackknife has no spread"
    # The acceleration has no unit; cubes of the smallest differences would underflow.
    spread = spread / np.abs(spread).max()
    acceleration = float((spread**3).sum() / (6.0 * (spread**2).sum() ** 1.5))
    distance = resampled - estimate
    share_below = float(np.mean(distance < -TIE * scale) / 2.0 + np.mean(distance <= TIE * scale) / 2.0)
    if not 0.0 < share_below < 1.0:
        return f"every one of {len(resampled)} resampled {name}s lies on one side of the {name}"
    bias = stats.norm.ppf(share_below)
    z = bias + stats.norm.ppf([tail, 1.0 - tail])
    low, high = stats.norm.cdf(bias + z / (1.0 - acceleration * z))
    if (1.0 - acceleration * z).min() <= 0.0:
        return f"the acceleration is {acceleration:.3g}: the correction runs past the end of the resamples"
    return float(low), float(high)
