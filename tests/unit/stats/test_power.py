import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from overnight.errors import UndefinedMetricError
from overnight.stats.power import (
    required_pairs,
    smallest_detectable_difference,
    smallest_detectable_difference_binary,
)


@pytest.mark.parametrize(
    ("sd", "n", "difference", "pairs"),
    [(0.5, 1000, 0.044297, [4906, 785, 197]), (0.3, 400, 0.042024, [1766, 283, 71])],
)
def test_golden_sizes(sd: float, n: int, difference: float, pairs: list[int]) -> None:
    assert smallest_detectable_difference(sd, n) == pytest.approx(difference, abs=5e-7)
    assert [required_pairs(sd, target) for target in (0.02, 0.05, 0.10)] == pairs


@given(st.floats(0.01, 2), st.floats(0.005, 1))
def test_the_required_pairs_detect_the_target_and_one_fewer_does_not(sd: float, target: float) -> None:
    n = required_pairs(sd, target)
    assert smallest_detectable_difference(sd, n) <= target * (1 + 1e-12)
    if n > 1:
        assert smallest_detectable_difference(sd, n - 1) > target * (1 - 1e-12)


def test_the_planned_power_is_what_a_z_test_has() -> None:
    difference = smallest_detectable_difference(0.4, 250, alpha=0.01, power=0.9)
    shift = difference / (0.4 / np.sqrt(250))
    reached = stats.norm.sf(stats.norm.ppf(0.995) - shift)
    assert reached == pytest.approx(0.9, abs=1e-9)


def test_a_binary_difference_has_the_standard_deviation_of_its_discordant_share() -> None:
    # psi = .2: sd = sqrt(.2), (1.959964 + .841621) * .447214 / sqrt(500) = .056032.
    assert smallest_detectable_difference_binary(500, 0.2) == pytest.approx(0.056032, abs=5e-7)


def test_a_plan_that_could_not_detect_even_a_one_sided_change_says_how_many_pairs_it_takes() -> None:
    # psi = .05 as the whole difference takes (2.801585^2) / .05 = 156.98 pairs.
    with pytest.raises(UndefinedMetricError, match="at least 157"):
        smallest_detectable_difference_binary(10, 0.05)
    assert smallest_detectable_difference_binary(157, 0.05) <= 0.05


def test_without_variation_or_pairs_nothing_can_be_planned() -> None:
    with pytest.raises(UndefinedMetricError, match="sd 0"):
        required_pairs(0.0, 0.1)
    with pytest.raises(UndefinedMetricError, match="no pairs"):
        smallest_detectable_difference(0.5, 0)
    with pytest.raises(UndefinedMetricError, match="sd 0"):
        smallest_detectable_difference_binary(100, 0.0)


@pytest.mark.parametrize("arguments", [{"alpha": 0.0}, {"alpha": 5.0}, {"power": 1.0}, {"power": 0.01}])
def test_levels_out_of_range_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="alpha="):
        smallest_detectable_difference(0.5, 100, **arguments)


def test_a_target_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="target"):
        required_pairs(0.5, 0.0)
