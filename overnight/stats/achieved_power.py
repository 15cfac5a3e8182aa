"""What a finished comparison could have shown, and how many pairs the next one takes."""

from collections.abc import Sequence
from dataclasses import dataclass

from overnight.errors import UndefinedMetricError
from overnight.stats.clustered import ClusteredMean
from overnight.stats.power import required_pairs, smallest_detectable_difference


@dataclass(frozen=True, slots=True, kw_only=True)
class AchievedPower:
    """Sizes from the spread that was seen; differences in the unit of the metric."""

    smallest_detectable: float
    required_pairs: dict[float, int]  # by target difference


def achieved_power(
    differences: ClusteredMean, targets: Sequence[float], *, alpha: float = 0.05, power: float = 0.8
) -> AchievedPower:
    """Return the smallest detectable difference of these pairs, and the pairs that each target takes.

    Where pairs come in clusters, the spread is that of independent pairs with the same standard error; pairs
    to come are then assumed to cluster alike.

    Raises:
        UndefinedMetricError: the differences do not vary, or are too few to say.
        ValueError: a target or a setting is out of range.
    """
    sd = differences.planning_sd
    if sd is None:
        raise UndefinedMetricError(
            f"{differences.n} pairs in {differences.n_clusters} clusters have no spread to plan with"
        )
    return AchievedPower(
        smallest_detectable=smallest_detectable_difference(sd, differences.n, alpha=alpha, power=power),
        required_pairs={target: required_pairs(sd, target, alpha=alpha, power=power) for target in targets},
    )
