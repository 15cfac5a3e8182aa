import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from overnight.stats.bootstrap import _bca_shares, bootstrap_intervals
from overnight.stats.clusters import cluster_sums
from overnight.stats.rng import stream


@pytest.mark.parametrize("kind", ["skewed", "rare"])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_interval_agrees_with_scipy(kind: str, confidence: float) -> None:
    rng = np.random.default_rng(3)
    differences = rng.exponential(size=90) if kind == "skewed" else (rng.random(400) < 0.03).astype(float)
    ours = bootstrap_intervals(
        differences, n_resamples=20_000, confidence=confidence, rng=stream(1, kind)
    ).bca
    theirs = stats.bootstrap(
        (differences,), np.mean, n_resamples=20_000, confidence_level=confidence, method="BCa", rng=rng
    ).confidence_interval
    # The Monte Carlo error of an extreme quantile at B = 20,000 is about .02 standard errors of the mean;
    # means of zeros and ones lie 1 / 400 apart, and a quantile may fall on either side of a step.
    step = 1 / 400 if kind == "rare" else 0.0
    tolerance = step + 0.15 * differences.std() / np.sqrt(len(differences))
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=tolerance)


def test_a_skewed_mean_has_its_interval_shifted_towards_the_tail() -> None:
    # Efron & Tibshirani, section 14.3: the correction moves both bounds the way the skewness points.
    differences = np.random.default_rng(3).exponential(size=60)
    both = bootstrap_intervals(differences, n_resamples=4000, rng=stream(1))
    assert both.percentile.low < both.bca.low  # type: ignore[operator]
    assert both.percentile.high < both.bca.high  # type: ignore[operator]


@pytest.mark.parametrize(
    ("values", "reason"),
    [([0.1] * 7, "all differences are equal"), ([0.0] * 5, "equal"), ([0.5], "one pair")],
)
def test_where_the_correction_is_undefined_there_is_no_interval_but_a_reason(
    values: list[float], reason: str
) -> None:
    bca = bootstrap_intervals(np.array(values), n_resamples=50, rng=stream(1)).bca
    assert (bca.low, bca.high) == (None, None)
    assert reason in str(bca.undefined_because)


def test_resamples_that_all_lie_on_one_side_of_the_mean_are_named() -> None:
    # The bias would be infinite: no shift of the quantiles mends it.
    units = cluster_sums(np.array([0.0, 0.0, 0.0, 1.0]))
    assert "one side" in str(_bca_shares(units, np.array([0.5, 0.75]), 0.025))


@given(st.lists(st.sampled_from([-1.0, -0.25, 0.0, 0.5, 1.0]), min_size=2, max_size=30))
def test_bounds_lie_within_the_differences(values: list[float]) -> None:
    bca = bootstrap_intervals(np.array(values), n_resamples=99, rng=stream(1)).bca
    if bca.undefined_because is None:
        assert min(values) <= bca.low <= bca.high <= max(values)  # type: ignore[operator]
    in_points = bootstrap_intervals(100 * np.array(values), n_resamples=99, rng=stream(1)).bca
    if bca.low is not None:
        assert (in_points.low, in_points.high) == pytest.approx((100 * bca.low, 100 * bca.high))  # type: ignore[operator]
