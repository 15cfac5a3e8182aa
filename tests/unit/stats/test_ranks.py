from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from overnight.stats.ranks import cohens_dz, rank_biserial, sign_statistic, wilcoxon

GOLDEN = np.array([0, 1, 0, -1, 1, 1, 0, 0, 0.5, -0.5])
GRADED = st.lists(st.sampled_from([-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0]), max_size=9).map(np.array)


def test_the_golden_vector() -> None:
    # prompt_sweep.md, A4.5: W 6, p .5; d_z .29632; the sign statistic .33333 = (4 - 2) / (4 + 2).
    test = wilcoxon(GOLDEN)
    assert test is not None
    assert (test.w, test.n_nonzero) == (6.0, 6)
    assert test.p_value == pytest.approx(0.5)
    assert cohens_dz(GOLDEN) == pytest.approx(0.29632, abs=5e-6)
    assert sign_statistic(GOLDEN) == pytest.approx(1 / 3)
    # Ranks of 1, -1, 1, 1, .5, -.5 are 4.5 x 4, 1.5 x 2: 15 up, 6 down, of 21.
    assert rank_biserial(GOLDEN) == pytest.approx((15 - 6) / 21)


@given(GRADED)
def test_small_signed_rank_tests_are_those_of_all_sign_patterns(differences: np.ndarray) -> None:
    test = wilcoxon(differences)
    if not np.any(differences):
        assert test is None
        return
    nonzero = differences[differences != 0]
    ranks = stats.rankdata(np.abs(nonzero))
    patterns = np.array(list(product([0, 1], repeat=len(nonzero))))
    w = min(ranks[nonzero > 0].sum(), ranks[nonzero < 0].sum())
    assert test is not None
    assert test.w == w
    assert test.p_value == pytest.approx(min(1.0, 2 * np.mean(patterns @ ranks <= w)))


def test_a_tied_signed_rank_test_is_that_of_scipys_permutations() -> None:
    differences = np.array([1.0, -0.5, 0.5, 0.5, 1.0, -1.0, 0.25])
    test, theirs = wilcoxon(differences), stats.wilcoxon(differences, method=stats.PermutationMethod())
    assert test is not None
    assert (test.w, test.p_value) == pytest.approx((theirs.statistic, theirs.pvalue))


@pytest.mark.parametrize(("n", "method"), [(1, "exact"), (2, "exact"), (50, "exact"), (51, "asymptotic")])
def test_signed_rank_tests_without_ties_are_scipys(n: int, method: str) -> None:
    differences = np.random.default_rng(n).normal(0.2, 1, size=n)
    test, theirs = wilcoxon(differences), stats.wilcoxon(differences, method=method)
    assert test is not None
    assert test.method == method
    assert (test.w, test.p_value) == pytest.approx((theirs.statistic, theirs.pvalue))


def test_many_tied_differences_have_scipys_correction() -> None:
    differences = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], p=[0.1, 0.7, 0.2], size=900)
    test, theirs = wilcoxon(differences), stats.wilcoxon(differences, zero_method="wilcox")
    assert test is not None
    assert (test.w, test.p_value) == pytest.approx((theirs.statistic, theirs.pvalue))


@given(GRADED, st.sampled_from([0.5, 2.0, 1024.0]))
def test_swapping_the_arms_turns_the_sign_and_a_unit_changes_nothing(
    differences: np.ndarray, unit: float
) -> None:
    assert wilcoxon(-differences) == wilcoxon(differences) == wilcoxon(unit * differences)
    for effect in (rank_biserial, sign_statistic, cohens_dz):
        value = effect(differences)
        if value is None:
            assert effect(-differences) is None
        else:
            assert effect(-differences) == pytest.approx(-value)
            assert effect(unit * differences[::-1]) == pytest.approx(value)


@pytest.mark.parametrize("values", [[], [0.0], [0.0, 0.0, 0.0]])
def test_without_a_difference_there_is_no_effect_and_no_p_value(values: list[float]) -> None:
    # The original gave (0, 1), 0, 0.
    differences = np.array(values)
    assert wilcoxon(differences) is None
    assert rank_biserial(differences) is None
    assert sign_statistic(differences) is None
    assert cohens_dz(differences) is None


def test_differences_without_spread_have_no_d() -> None:
    # The original gave 0: a treatment that always helps by .1 would have had no effect at all.
    assert cohens_dz(np.full(6, 0.1)) is None
    assert cohens_dz(np.array([0.3])) is None


def test_two_pairs_are_defined() -> None:
    differences = np.array([0.2, 0.4])
    test = wilcoxon(differences)
    assert test is not None
    assert (test.w, test.p_value) == (0.0, 0.5)  # 2 of 4 sign patterns are as extreme
    assert cohens_dz(differences) == pytest.approx(0.3 / np.sqrt(0.02))
    assert (rank_biserial(differences), sign_statistic(differences)) == (1.0, 1.0)
