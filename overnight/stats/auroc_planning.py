"""What a number of answers can say about an AUROC, before they are asked."""

import math
from statistics import NormalDist

from overnight.errors import UndefinedMetricError

_TWO = 2  # of each class, for a standard error


def expected_standard_error(auroc: float, *, n_wrong: int, n_right: int) -> float:
    """Return the standard error that an AUROC of this size has.

    It takes the scores of both classes as exponential, which makes it depend on the area alone; over other
    distributions it errs, if at all, towards a larger one.

    Args:
        auroc: in (0, 1), as it is expected.
        n_wrong: wrong answers, the class that should have the higher scores.
        n_right: right answers.

    Raises:
        UndefinedMetricError: there are fewer than two of a class.
        ValueError: the area is not in (0, 1).

    Source:
        Hanley & McNeil (1982), Radiology 143:29-36, the formula of their section on sample sizes.
    """
    if not 0.0 < auroc < 1.0:
        raise ValueError(f"auroc is {auroc}; it must lie in (0, 1)")
    if min(n_wrong, n_right) < _TWO:
        raise UndefinedMetricError(
            f"{n_right} right and {n_wrong} wrong answers: a standard error takes two of each"
        )
    two_wrong = auroc / (2.0 - auroc)  # chance that two wrong answers both outrank a right one
    two_right = 2.0 * auroc**2 / (1.0 + auroc)  # that a wrong answer outranks two right ones
    variance = (
        auroc * (1.0 - auroc)
        + (n_wrong - 1) * (two_wrong - auroc**2)
        + (n_right - 1) * (two_right - auroc**2)
    ) / (n_wrong * n_right)
    return math.sqrt(variance)


def smallest_detectable_auroc_difference(
    auroc: float, *, n_wrong: int, n_right: int, correlation: float, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Return the difference of two AUROCs of the same answers that is detected with this power, two-sided.

    (z_{1-alpha/2} + z_power) sqrt(2 (1 - r)) SE: both areas are taken to have the error of the one expected.

    Args:
        auroc: in (0, 1), of both.
        n_wrong: wrong answers.
        n_right: right answers.
        correlation: r in [0, 1) of the errors of the two areas; 0 for other answers.
        alpha: level of the test.
        power: wanted probability of detecting the difference.

    Raises:
        UndefinedMetricError: there are fewer than two of a class.
        ValueError: an argument is out of range.

    Source:
        Hanley & McNeil (1983), Radiology 148:839-843: SE^2 of a difference = SE1^2 + SE2^2 - 2 r SE1 SE2.
    """
    if not 0.0 <= correlation < 1.0 or not 0.0 < alpha < 1.0 or not alpha / 2.0 < power < 1.0:
        raise ValueError(
            f"correlation={correlation}, alpha={alpha}, power={power}; want [0, 1), (0, 1), (alpha / 2, 1)"
        )
    se = expected_standard_error(auroc, n_wrong=n_wrong, n_right=n_right)
    quantile = NormalDist().inv_cdf
    return (quantile(1.0 - alpha / 2.0) + quantile(power)) * math.sqrt(2.0 * (1.0 - correlation)) * se
