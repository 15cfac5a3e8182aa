import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from overnight.errors import UndefinedMetricError
from overnight.stats import permutation, resampling
from overnight.stats.permutation import sign_flip_p
from overnight.stats.rng import stream

GOLDEN = np.array([0, 1, 0, -1, 1, 1, 0, 0, 0.5, -0.5])


def exact_p(differences: np.ndarray) -> float:
    """The share of all 2^N sign patterns with a mean at least as far from zero."""
    signs = np.array(list(product([-1, 1], repeat=len(differences))))
    return float(np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9))


def test_the_golden_vector() -> None:
    # The original's 5,000 flips gave .4968, with a standard error of .007; three of them are .021.
    assert exact_p(GOLDEN) == pytest.approx(0.4968, abs=0.021)
    assert sign_flip_p(GOLDEN, rng=stream(1337)) == pytest.approx(exact_p(GOLDEN), abs=0.021)


@pytest.mark.parametrize("seed", range(4))
def test_the_p_value_is_that_of_all_sign_patterns(seed: int) -> None:
    differences = np.random.default_rng(seed).normal(0.3, 1, size=10).round(1)
    p = exact_p(differences)
    error = 4 * math.sqrt(p * (1 - p) / 50_000)
    assert sign_flip_p(differences, n_resamples=50_000, rng=stream(seed)) == pytest.approx(
        p, abs=error + 2e-5
    )


def test_the_p_value_agrees_with_scipy_on_many_distinct_values() -> None:
    differences = np.random.default_rng(8).normal(0.08, 1, size=400)
    theirs = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=10_000, vectorized=True, rng=2
    ).pvalue
    ours = sign_flip_p(differences, n_resamples=10_000, rng=stream(8))
    assert ours == pytest.approx(theirs, abs=5 * math.sqrt(2 * theirs * (1 - theirs) / 10_000))


def test_the_p_value_is_never_zero() -> None:
    # 60 differences of one sign: 2^-59 of all flips are as far, so none of 999 is; (0 + 1) / (999 + 1).
    assert sign_flip_p(np.ones(60), n_resamples=999, rng=stream(1)) == 1 / 1000


def test_no_difference_at_all_has_a_p_value_of_one() -> None:
    assert sign_flip_p(np.zeros(5), n_resamples=99, rng=stream(1)) == 1.0


def test_rounding_does_not_break_a_tie() -> None:
    # .1 + .2 against .3: every flip that ties with the observed sum in exact arithmetic counts.
    differences = np.array([0.1, 0.2, 0.3])
    assert exact_p(differences) == 0.25
    assert sign_flip_p(differences, n_resamples=40_000, rng=stream(1)) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("differences", [np.tile(GOLDEN, 5), np.linspace(-0.4, 1, 131)], ids=["few", "many"])
def test_the_chunk_size_changes_nothing(differences: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sign_flip_p(differences, n_resamples=500, rng=stream(1))
    monkeypatch.setattr(resampling, "CELLS_PER_CHUNK", 600)
    assert sign_flip_p(differences, n_resamples=500, rng=stream(1)) == whole


def test_coins_and_binomial_draws_are_two_ways_to_one_p_value(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = np.random.default_rng(2).choice([-0.5, 0.0, 0.5, 1.0], p=[0.3, 0.3, 0.2, 0.2], size=40)
    p_values = []
    for cost in (0, 1000):
        monkeypatch.setattr(permutation, "_BINOMIAL_COST", cost)
        p_values.append(sign_flip_p(differences, n_resamples=20_000, rng=stream(cost)))
    error = math.sqrt(2 * p_values[0] * (1 - p_values[0]) / 20_000)
    assert p_values[0] == pytest.approx(p_values[1], abs=4 * error)


def test_no_pairs_have_no_p_value() -> None:
    with pytest.raises(UndefinedMetricError):
        sign_flip_p(np.array([]), rng=stream(1))


@settings(max_examples=50)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_swapping_the_arms_and_the_order_change_nothing(values: list[float]) -> None:
    p = sign_flip_p(np.array(values), n_resamples=99, rng=stream(1))
    assert p == sign_flip_p(-np.array(values), n_resamples=99, rng=stream(1))
    assert p == sign_flip_p(np.array(values[::-1]), n_resamples=99, rng=stream(1))
    assert 1 / 100 <= p <= 1.0
