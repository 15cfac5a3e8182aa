import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.proportion import proportion_confint

from overnight.stats.mcnemar import discordant_pairs, mcnemar

COUNTS = st.integers(0, 300)


@pytest.mark.parametrize(
    ("b", "c", "p", "odds_ratio", "bounds"),
    [
        # prompt_sweep.md, A4.5; the odds ratios not listed there are (b + .5) / (c + .5).
        (10, 3, 0.092285, 3.0, (0.85828, 18.8487)),
        (5, 5, 1.0, 1.0, (0.23014, 4.34513)),
        (0, 6, 0.03125, 0.076923, (0.0, 0.84931)),
        (120, 95, 0.101452, 1.26178, (0.95703, 1.67117)),
    ],
)
def test_golden_tables(b: int, c: int, p: float, odds_ratio: float, bounds: tuple[float, float]) -> None:
    test = mcnemar(b, c)
    assert test.p_exact == pytest.approx(p, abs=5e-7)
    assert test.odds_ratio == pytest.approx(odds_ratio, rel=5e-6)
    assert test.odds_ratio_low == pytest.approx(bounds[0], abs=5e-6)
    assert test.odds_ratio_high == pytest.approx(bounds[1], rel=5e-6)


def test_one_against_nine() -> None:
    assert mcnemar(1, 9).p_exact == pytest.approx(0.0214844, abs=5e-8)


@given(COUNTS, COUNTS)
def test_the_p_value_and_the_interval_agree_with_statsmodels(b: int, c: int) -> None:
    test = mcnemar(b, c)
    if b + c == 0:
        assert (test.p_exact, test.p_mid) == (1.0, 1.0)
        assert (test.odds_ratio, test.odds_ratio_low, test.odds_ratio_high) == (None, None, None)
        return
    table = [[0, b], [c, 0]]
    assert test.p_exact == pytest.approx(min(1.0, statsmodels_mcnemar(table, exact=True).pvalue), rel=1e-9)
    low, high = proportion_confint(b, b + c, method="beta")
    assert test.odds_ratio_low == pytest.approx(0.0 if b == 0 else low / (1 - low), rel=1e-6)
    if c > 0:
        assert test.odds_ratio_high == pytest.approx(high / (1 - high), rel=1e-6)


@given(COUNTS, COUNTS)
def test_mid_p_counts_the_observed_table_half(b: int, c: int) -> None:
    # Fagerland 2013: each tail gives up half the probability of the observed table.
    test, observed = mcnemar(b, c), stats.binom.pmf(min(b, c), b + c, 0.5)
    if b == c:
        assert test.p_mid == pytest.approx(1.0)
    else:
        assert test.p_mid == pytest.approx(test.p_exact - observed)


@given(COUNTS, COUNTS)
def test_swapping_the_arms_turns_the_odds_over(b: int, c: int) -> None:
    there, back = mcnemar(b, c), mcnemar(c, b)
    assert (there.p_exact, there.p_mid) == (back.p_exact, back.p_mid)
    if b + c == 0:
        assert there == back
        return
    assert there.odds_ratio == pytest.approx(1 / back.odds_ratio)
    if there.odds_ratio_high is None:
        assert back.odds_ratio_low == 0.0
    else:
        assert there.odds_ratio_high == pytest.approx(1 / back.odds_ratio_low)


@pytest.mark.parametrize("b", [1, 6, 400])
def test_without_a_spoilt_answer_the_odds_have_no_upper_bound(b: int) -> None:
    # The original wrote Infinity, which is not JSON.
    assert mcnemar(b, 0).odds_ratio_high is None


def test_pairs_are_called_right_from_one_half_up() -> None:
    control = np.array([0.0, 0.49, 0.5, 1.0, 1.0])
    treatment = np.array([1.0, 0.5, 0.49, 0.0, 0.5])
    assert discordant_pairs(control, treatment) == (2, 2)


def test_a_negative_count_and_a_confidence_of_95_are_refused() -> None:
    with pytest.raises(ValueError, match="c=-1"):
        mcnemar(3, -1)
    with pytest.raises(ValueError, match="confidence is 95"):
        mcnemar(3, 1, confidence=95)
