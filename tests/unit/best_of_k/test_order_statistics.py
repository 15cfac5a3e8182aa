from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overnight.best_of_k.order_statistics import best_at, expected_highest, expected_lowest, rank_weights
from overnight.errors import UndefinedMetricError

ERRORS = st.lists(st.floats(0, 1e6) | st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=7)


def by_all_subsets(values: list[float], k: int) -> float:
    return float(np.mean([min(subset) for subset in combinations(values, k)]))


def test_the_golden_vector() -> None:
    # (1 * C(3,1) + 2 * C(2,1) + 3 * C(1,1)) / C(4,2) = 10 / 6.
    found = expected_lowest(np.array([4.0, 2.0, 1.0, 3.0]))
    assert found == pytest.approx([2.5, 10 / 6, 1.25, 1.0])
    assert expected_lowest(np.array([1.0, 2.0, 3.0, 4.0])).tolist() == found.tolist()


@settings(max_examples=40, deadline=None)
@given(ERRORS)
def test_it_is_the_mean_of_the_best_over_all_subsets(values: list[float]) -> None:
    found = expected_lowest(np.array(values))
    assert found == pytest.approx([by_all_subsets(values, k) for k in range(1, len(values) + 1)], rel=1e-12)
    highest = expected_highest(-np.array(values))
    assert highest.tolist() == (-found).tolist()


def test_it_is_pass_at_k_where_errors_are_zero_and_one() -> None:
    # Chen et al. (2021), equation 1: with c of n right, pass@k = 1 - C(n - c, k) / C(n, k).
    n, c = 200, 7
    found = 1 - expected_lowest(np.r_[np.zeros(c), np.ones(n - c)])
    assert found == pytest.approx([1 - comb(n - c, k) / comb(n, k) for k in range(1, n + 1)], abs=1e-12)


@given(st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=80))
def test_it_never_rises_with_k_not_even_by_rounding(values: list[float]) -> None:
    found = expected_lowest(np.array(values) / 2)
    assert (np.diff(found) <= 0).all()
    assert found[-1] == min(values) / 2


@given(st.floats(-1e9, 1e9), st.integers(1, 65))
def test_equal_errors_give_exactly_themselves(value: float, n: int) -> None:
    assert (expected_lowest(np.full(n, value)) == value).all()


def test_it_is_unbiased_for_the_best_of_fresh_draws() -> None:
    # The least of K uniform numbers is expected at 1 / (K + 1).
    rng = np.random.default_rng(0)
    found = np.mean([expected_lowest(rng.random(16)) for _ in range(4000)], axis=0)
    assert found == pytest.approx(1 / np.arange(2, 18), abs=0.006)


def test_a_draw_that_failed_is_no_draw_and_more_than_there_are_is_undefined() -> None:
    errors = np.array([4.0, np.nan, 2.0, 1.0, np.nan, 3.0])
    one, four, five = best_at(errors, [1, 4, 5])
    assert (one.value, four.value, five.value) == (2.5, 1.0, None)
    assert five.undefined_because == "the best of 5 takes 5 draws; there are 4, 2 more failed"
    with pytest.raises(UndefinedMetricError, match="takes 5 draws; there are 4, 2 more failed"):
        rank_weights(errors, [1, 5])
    assert best_at(np.array([np.nan]), [1])[0].value is None
    assert expected_lowest(np.array([])).shape == (0,)


@settings(max_examples=40, deadline=None)
@given(ERRORS)
def test_weights_are_the_share_of_subsets_in_which_a_draw_is_the_best(values: list[float]) -> None:
    n = len(values)
    weights = rank_weights(np.array([*values, np.nan]), range(1, n + 1))
    for k in range(1, n + 1):
        share = np.zeros(n + 1)
        for subset in combinations(range(n), k):
            best = [j for j in subset if values[j] == min(values[i] for i in subset)]
            # Draws with one error take turns over all subsets, those of the same error outside one included.
            alike = [j for j in range(n) if values[j] == values[best[0]]]
            share[alike] += 1 / len(alike) / comb(n, k)
        assert weights[k - 1] == pytest.approx(share, abs=1e-12)


def test_weights_and_expectations_say_the_same() -> None:
    errors = np.random.default_rng(1).gamma(2.0, size=64)
    ks = [1, 2, 4, 8, 16, 32, 64]
    weights = rank_weights(errors, ks)
    assert weights.sum(axis=1) == pytest.approx(np.ones(7), abs=1e-13)
    assert weights @ errors == pytest.approx(expected_lowest(errors)[np.array(ks) - 1], rel=1e-12)


@pytest.mark.parametrize("ks", [[], [0], [2, -1]])
def test_a_count_below_one_is_refused(ks: list[int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        rank_weights(np.array([1.0, 2.0]), ks)


def test_an_infinite_error_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        expected_lowest(np.array([1.0, np.inf]))
