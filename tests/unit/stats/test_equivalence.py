import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.weightstats import ttost_paired

from overnight.stats.equivalence import tost

RNG = np.random.default_rng(4)
DIFFERENCES = RNG.choice([-1.0, -0.5, 0.0, 0.0, 0.0, 0.5, 1.0], size=120)


@pytest.mark.parametrize("margin", [0.01, 0.1, 0.3])
def test_both_one_sided_tests_agree_with_statsmodels(margin: float) -> None:
    p, lower, upper = ttost_paired(DIFFERENCES, np.zeros(120), -margin, margin)
    test = tost(DIFFERENCES, margin=margin)
    assert (test.p_value, test.p_lower, test.p_upper) == pytest.approx((p, lower[1], upper[1]))
    assert test.is_equivalent == (p < 0.05)


def test_the_clustered_standard_error_is_that_of_a_regression_on_a_constant() -> None:
    # statsmodels' small-sample factor G / (G - 1) * (N - 1) / (N - K) is ours, since K = 1.
    clusters = RNG.integers(25, size=120)
    fit = OLS(DIFFERENCES, np.ones(120)).fit(cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True)
    test = tost(DIFFERENCES, margin=0.2, clusters=clusters)
    assert (test.ci_low, test.ci_high) == pytest.approx(fit.conf_int(alpha=0.1)[0])


def test_the_interval_lies_within_the_margins_just_where_the_arms_are_equivalent() -> None:
    for margin in np.linspace(0.01, 0.4, 40):
        test = tost(DIFFERENCES, margin=margin, alpha=0.1)
        assert test.ci_low is not None
        assert test.ci_high is not None
        assert test.is_equivalent == (-margin < test.ci_low and test.ci_high < margin)


def test_non_inferior_is_one_side_alone_and_knows_which_side_is_worse() -> None:
    # The original called this one "TOST": a large gain counted as equivalent.
    gain = np.tile([0.4, 0.6], 20)
    test = tost(gain, margin=0.01)
    assert (test.is_non_inferior, test.is_equivalent) == (True, False)
    assert test.p_non_inferior == test.p_lower
    worse = tost(gain, margin=0.01, is_higher_better=False)
    assert (worse.is_non_inferior, worse.p_non_inferior) == (False, worse.p_upper)
    neither = tost(gain, margin=0.01, is_higher_better=None)
    assert (neither.is_non_inferior, neither.p_non_inferior) == (None, None)


@given(st.lists(st.sampled_from([-1.0, -0.25, 0.0, 0.5, 1.0]), min_size=2, max_size=20).map(np.array))
def test_swapping_the_arms_swaps_the_sides(differences: np.ndarray) -> None:
    there, back = tost(differences, margin=0.1), tost(-differences, margin=0.1)
    if there.p_value is None:
        assert there.undefined_because is not None
    else:
        assert (there.p_lower, there.p_upper) == pytest.approx((back.p_upper, back.p_lower))
        in_points = tost(100 * differences, margin=10)
        assert in_points.p_value == pytest.approx(there.p_value)


@pytest.mark.parametrize(
    ("values", "reason"),
    [([], "0 pairs"), ([0.5], "1 pairs"), ([0.0, 0.0], "sd 0"), ([0.1, 0.1, 0.1], "sd 0")],
)
def test_without_spread_there_is_no_p_value(values: list[float], reason: str) -> None:
    # The original gave 0 or 1.
    test = tost(np.array(values), margin=0.01)
    assert (test.p_value, test.is_equivalent, test.p_non_inferior, test.ci_low) == (None, None, None, None)
    assert reason in str(test.undefined_because)


def test_one_cluster_has_no_spread() -> None:
    test = tost(np.array([0.0, 1.0]), margin=0.01, clusters=np.array([0, 0]))
    assert "1 clusters" in str(test.undefined_because)


@pytest.mark.parametrize(("margin", "alpha"), [(0.0, 0.05), (-1.0, 0.05), (0.1, 0.5), (0.1, 5.0)])
def test_settings_out_of_range_are_refused(margin: float, alpha: float) -> None:
    with pytest.raises(ValueError, match="margin="):
        tost(DIFFERENCES, margin=margin, alpha=alpha)
