import numpy as np
import pytest

from overnight.errors import UndefinedMetricError
from overnight.stats.achieved_power import achieved_power
from overnight.stats.clustered import ClusteredMean, clustered_mean


@pytest.mark.parametrize(
    ("sd", "n", "difference", "pairs"),
    [(0.5, 1000, 0.044297, [4906, 785, 197]), (0.3, 400, 0.042024, [1766, 283, 71])],
)
def test_golden_sizes_from_measured_differences(
    sd: float, n: int, difference: float, pairs: list[int]
) -> None:
    # Half of the differences at +a, half at -a, with a such that their standard deviation (ddof 1) is sd.
    values = np.resize([1.0, -1.0], n) * sd * np.sqrt((n - 1) / n)
    found = achieved_power(clustered_mean(values, np.arange(n)), [0.02, 0.05, 0.10])
    assert found.smallest_detectable == pytest.approx(difference, abs=5e-7)
    assert list(found.required_pairs.values()) == pairs


def test_clusters_of_equal_differences_count_as_one_pair_each() -> None:
    # 40 passages of 5 equal differences show what 40 pairs show; the passage count sets the spread.
    each = np.random.default_rng(2).normal(size=40)
    clustered = clustered_mean(np.repeat(each, 5), np.repeat(np.arange(40), 5))
    single = clustered_mean(each, np.arange(40))
    found = achieved_power(clustered, [0.1])
    alone = achieved_power(single, [0.1])
    assert found.smallest_detectable == pytest.approx(alone.smallest_detectable)
    assert found.required_pairs[0.1] == pytest.approx(5 * alone.required_pairs[0.1], abs=5)


def test_what_does_not_vary_or_is_too_little_plans_nothing() -> None:
    with pytest.raises(UndefinedMetricError, match="sd 0"):
        achieved_power(clustered_mean(np.zeros(9), np.arange(9)), [0.1])
    with pytest.raises(UndefinedMetricError, match="1 pairs in 1 clusters"):
        achieved_power(ClusteredMean(n=1, n_clusters=1, mean=0.0, sd=None, se=None), [0.1])
