import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from overnight.stats.multiplicity import adjust_all, benjamini_hochberg, benjamini_yekutieli, holm_bonferroni

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=30)
# 25 tests, the example that the specification names; the q-values below follow from the definition.
GOLDEN = [
    *(0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216, 0.222, 0.251, 0.269),
    *(0.275, 0.34, 0.341, 0.384, 0.569, 0.594, 0.696, 0.762, 0.94, 0.942, 0.975, 0.986),
]


def by_definition(p_values: list[float]) -> list[float]:
    """q of p: the minimum of m * p' / rank(p') over all p' that are at least p."""
    m = len(p_values)
    fdr = {p: m * p / sum(other <= p for other in p_values) for p in p_values}
    return [min(fdr[other] for other in p_values if other >= p) for p in p_values]


def test_the_golden_vector() -> None:
    # 25 * .001 / 1 = .025; 25 * .008 / 2 = .1; 25 * .042 / 5 = .21, below those of ranks 3 and 4;
    # 25 * .06 / 6 = .25; 25 * .074 / 7 = .2643. The original gave .025 for all.
    q_values = benjamini_hochberg(GOLDEN)
    assert q_values[:7] == pytest.approx([0.025, 0.1, 0.21, 0.21, 0.21, 0.25, 25 * 0.074 / 7])
    assert q_values == pytest.approx(by_definition(GOLDEN))


@given(P_VALUES)
def test_q_is_the_step_up_rule_by_definition_and_by_statsmodels(p_values: list[float]) -> None:
    q_values = benjamini_hochberg(p_values)
    assert q_values == pytest.approx(by_definition(p_values))
    assert q_values == pytest.approx(multipletests(p_values, method="fdr_bh")[1])


@given(P_VALUES)
def test_q_rises_with_p_and_is_never_below_it(p_values: list[float]) -> None:
    ordered = sorted(p_values)
    q_values = [q for q in benjamini_hochberg(ordered) if q is not None]
    assert all(p <= q + 1e-15 and q <= 1.0 for p, q in zip(ordered, q_values, strict=True))
    assert q_values == sorted(q_values)


@given(P_VALUES)
def test_the_order_of_the_tests_does_not_matter(p_values: list[float]) -> None:
    assert benjamini_hochberg(p_values[::-1]) == benjamini_hochberg(p_values)[::-1]


def test_a_test_without_a_p_value_stays_without_and_is_not_counted() -> None:
    assert benjamini_hochberg([None, 0.01, None, 0.04]) == [
        None,
        pytest.approx(0.02),
        None,
        pytest.approx(0.04),
    ]
    assert benjamini_hochberg([None, None]) == [None, None]
    assert benjamini_hochberg([]) == []


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_what_is_no_p_value_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="0 and 1"):
        benjamini_hochberg([0.5, p])


@given(P_VALUES)
def test_the_other_adjustments_follow_from_their_definitions(p_values: list[float]) -> None:
    m = len(p_values)
    harmonic = sum(1 / rank for rank in range(1, m + 1))
    assert benjamini_yekutieli(p_values) == pytest.approx(
        [min(1.0, harmonic * q) for q in by_definition(p_values)]
    )
    ordered = sorted(p_values)
    holm = {p: min(1.0, max((m - i) * ordered[i] for i in range(m) if ordered[i] <= p)) for p in p_values}
    assert holm_bonferroni(p_values) == pytest.approx([holm[p] for p in p_values])


def test_all_adjustments_leave_out_what_has_no_p_value() -> None:
    # Two tests: BY is BH times 1 + 1/2; Holm is 2 x .01 and max(.02, 1 x .04).
    adjusted = adjust_all([0.04, None, 0.01])
    assert [each.q_value for each in adjusted] == [pytest.approx(0.04), None, pytest.approx(0.02)]
    assert [each.q_value_by for each in adjusted] == [pytest.approx(0.06), None, pytest.approx(0.03)]
    assert [each.p_holm for each in adjusted] == [pytest.approx(0.04), None, pytest.approx(0.02)]
