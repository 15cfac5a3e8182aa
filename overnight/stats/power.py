"""What a paired comparison of a given size can show, before it is run."""

import math
from statistics import NormalDist

from overnight.errors import UndefinedMetricError


def smallest_detectable_difference(sd: float, n: int, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Return the mean paired difference that n pairs detect with this power, two-sided at level alpha.

    Args:
        sd: standard deviation of the paired differences, in the unit of the metric.
        n: number of pairs.
        alpha: level of the two-sided test.
        power: wanted probability of detecting the difference.

    Returns:
        (z_{1-alpha/2} + z_power) * sd / sqrt(n), in the unit of ``sd``; normal approximation.

    Raises:
        UndefinedMetricError: sd is 0 or n is 0; then nothing can be said, not that everything is detected.
        ValueError: an argument is out of range.

    Source:
        Miller (2024), Adding Error Bars to Evals, arXiv:2411.00640, on power analysis.
    """
    _check(sd, alpha, power)
    if n < 0:
        raise ValueError(f"n is {n}; a number of pairs cannot be negative")
    if n == 0:
        raise UndefinedMetricError("no pairs: no difference is detectable; plan at least one pair")
    return _z(alpha, power) * sd / math.sqrt(n)


def required_pairs(sd: float, target: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """Return how many pairs detect a mean difference of ``target``; arguments as in the inverse above.

    Returns:
        ceil(((z_{1-alpha/2} + z_power) * sd / target)^2), at least 1.

    Raises:
        UndefinedMetricError: sd is 0.
        ValueError: an argument is out of range; the target must be positive.
    """
    _check(sd, alpha, power)
    if not target > 0.0:
        raise ValueError(f"target is {target}; the difference to detect must be positive")
    return math.ceil((_z(alpha, power) * sd / target) ** 2)


def smallest_detectable_difference_binary(
    n: int, discordant_share: float, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Return the difference of two paired rates that n pairs detect, for McNemar's test.

    A paired binary difference is -1, 0 or 1, non-zero in a share psi of the pairs, with variance
    psi - difference^2; the square is left out, which errs towards a larger difference.

    Args:
        n: number of pairs.
        discordant_share: psi in (0, 1], the share of pairs in which exactly one arm is right.
        alpha: level of the two-sided test.
        power: wanted probability of detecting the difference.

    Raises:
        UndefinedMetricError: even if every discordant pair went one way, n would be too few, or psi is 0.
        ValueError: an argument is out of range.

    Source:
        Connor (1987), Biometrics 43:207-211, in its simplest form.
    """
    if not 0.0 <= discordant_share <= 1.0:
        raise ValueError(f"discordant_share is {discordant_share}; it is a share in [0, 1]")
    difference = smallest_detectable_difference(math.sqrt(discordant_share), n, alpha=alpha, power=power)
    if difference > discordant_share:
        needed = required_pairs(math.sqrt(discordant_share), discordant_share, alpha=alpha, power=power)
        raise UndefinedMetricError(
            f"{n} pairs, {discordant_share} of them discordant, detect no difference; plan at least {needed}"
        )
    return difference


def _z(alpha: float, power: float) -> float:
    quantile = NormalDist().inv_cdf
    return quantile(1.0 - alpha / 2.0) + quantile(power)


def _check(sd: float, alpha: float, power: float) -> None:
    if not (0.0 < alpha < 1.0 and alpha / 2.0 < power < 1.0):
        raise ValueError(f"alpha={alpha}, power={power}; want alpha in (0, 1) and power in (alpha / 2, 1)")
    if not (math.isfinite(sd) and sd >= 0.0):
        raise ValueError(f"sd is {sd}; want a finite number that is not negative")
    if sd == 0.0:
        raise UndefinedMetricError("the differences do not vary (sd 0); no size can be planned from them")
