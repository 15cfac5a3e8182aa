import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from overnight.errors import UndefinedMetricError
from overnight.stats.pooling import Effect, hartung_knapp, pool

EFFECTS = st.lists(st.tuples(st.floats(-1, 1), st.floats(0.05, 0.5)), min_size=2, max_size=8)


def effects(pairs):
    return [Effect(name=str(n), mean=mean, se=se) for n, (mean, se) in enumerate(pairs)]


def test_two_subgroups_by_hand() -> None:
    # w = 100, 25; fixed = (10 + 12.5) / 125 = .18; Q = 100 x .08^2 + 25 x .32^2 = 3.2; C = 125 - 10625/125 = 40;
    # tau^2 = 2.2 / 40 = .055; w* = 1/.065, 1/.095; random = (.1/.065 + .5/.095) / (1/.065 + 1/.095) = .2625.
    found = pool(effects([(0.1, 0.1), (0.5, 0.2)]))
    assert found.fixed.mean == pytest.approx(0.18)
    assert found.fixed.se == pytest.approx(125**-0.5)
    assert (found.q, found.df) == (pytest.approx(3.2), 1)
    assert found.q_p_value == pytest.approx(stats.chi2.sf(3.2, 1))
    assert found.i2 == pytest.approx(2.2 / 3.2)
    assert found.tau2 == pytest.approx(0.055)
    assert found.random.mean == pytest.approx(0.2625)
    assert found.prediction is None  # t with 0 degrees of freedom


@given(EFFECTS)
def test_statsmodels_pools_alike_where_subgroups_disagree_more_than_chance(pairs) -> None:
    means, errors = (np.array(column) for column in zip(*pairs, strict=True))
    with np.errstate(all="ignore"):  # of a negative variance between subgroups, see below
        oracle = combine_effects(means, errors**2, method_re="dl")
        bounds = oracle.conf_int(use_t=False)
    found = pool(effects(pairs))
    assert found.fixed.mean == pytest.approx(oracle.mean_effect_fe, abs=1e-9)
    assert found.fixed.se == pytest.approx(oracle.sd_eff_w_fe)
    assert found.q == pytest.approx(oracle.q, abs=1e-9)
    assert (found.fixed.low, found.fixed.high) == pytest.approx(tuple(bounds[0]), abs=1e-9)
    if oracle.q > found.df:
        assert found.tau2 == pytest.approx(oracle.tau2, abs=1e-9)
        assert found.i2 == pytest.approx(oracle.i2, abs=1e-9)
        assert found.random.mean == pytest.approx(oracle.mean_effect_re, abs=1e-9)
        assert (found.random.low, found.random.high) == pytest.approx(tuple(bounds[1]), abs=1e-9)
    else:  # there statsmodels lets the variance between subgroups fall below 0
        assert (found.tau2, found.i2) == (0.0, 0.0)
        assert found.random.mean == pytest.approx(found.fixed.mean)
        assert found.random.se == pytest.approx(found.fixed.se)


@given(EFFECTS, st.randoms())
def test_the_order_of_subgroups_is_immaterial(pairs, random) -> None:
    found, other = pool(effects(pairs)), pool(effects(random.sample(pairs, len(pairs))))
    assert other.random.mean == pytest.approx(found.random.mean, abs=1e-9)
    assert other.q == pytest.approx(found.q, abs=1e-9)


def test_a_prediction_interval_is_wider_than_that_of_the_mean() -> None:
    found = pool(effects([(0.1, 0.05), (0.3, 0.05), (0.6, 0.05)]))
    low, high = found.prediction
    assert low < found.random.low < found.random.high < high
    # t with k - 2 = 1 degree of freedom at .975 is 12.706.
    reach = 12.7062 * (found.tau2 + found.random.se**2) ** 0.5
    assert high - found.random.mean == pytest.approx(reach, rel=1e-5)


def test_less_than_two_subgroups_or_no_variance_cannot_be_pooled() -> None:
    for few in ([], [(0.1, 0.1)]):
        with pytest.raises(UndefinedMetricError, match="at least 2"):
            pool(effects(few))
    with pytest.raises(ValueError, match="leave that subgroup out"):
        pool(effects([(0.1, 0.1), (0.2, 0.0)]))


@given(EFFECTS)
def test_hartung_and_knapp_is_statsmodels_with_a_scale_but_never_narrower_than_without(pairs) -> None:
    means, errors = (np.array(column) for column in zip(*pairs, strict=True))
    with np.errstate(all="ignore"):
        oracle = combine_effects(means, errors**2, method_re="dl", use_t=True)
    pooling = pool(effects(pairs))
    found = hartung_knapp(effects(pairs), pooling.tau2)
    assert found.mean == pytest.approx(pooling.random.mean, abs=1e-12)
    t = stats.t.ppf(0.975, len(pairs) - 1)
    if oracle.q > pooling.df and oracle.scale_hksj_re > 1:
        assert found.se == pytest.approx(oracle.var_hksj_re**0.5)
    elif oracle.q > pooling.df:
        assert found.se == pytest.approx(pooling.random.se)
    assert (found.low, found.high) == pytest.approx((found.mean - t * found.se, found.mean + t * found.se))
    assert found.se >= pooling.random.se * (1 - 1e-12)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(found.mean / found.se), len(pairs) - 1))


def test_one_subgroup_has_no_interval_of_hartung_and_knapp() -> None:
    with pytest.raises(UndefinedMetricError, match="at least 2"):
        hartung_knapp(effects([(0.1, 0.1)]), 0.0)
