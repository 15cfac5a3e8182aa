from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from overnight.best_of_k.order_statistics import expected_lowest
from overnight.best_of_k.selectors import (
    Selector,
    by_agreement,
    by_error,
    by_score,
    cosine_agreement,
    medoid_agreement,
)
from overnight.errors import UndefinedMetricError
from overnight.stats.rng import stream

KS = [1, 2, 3, 4, 5, 6]


def over_all_sets(agreement: np.ndarray, k: int) -> np.ndarray:
    """The definition: in every set of k, the draw with the largest sum over the others; ties share."""
    n, chances, sets = len(agreement), np.zeros(len(agreement)), list(combinations(range(len(agreement)), k))
    for some in sets:
        sums = {j: sum(agreement[j, i] for i in some if i != j) for j in some}
        best = [j for j in some if sums[j] >= max(sums.values()) - 1e-9]
        chances[best] += 1 / len(best) / len(sets)
    assert n == len(chances)
    return chances


@pytest.mark.parametrize("find", [cosine_agreement, medoid_agreement])
def test_agreement_is_over_all_sets_where_they_are_few(find) -> None:
    rows = np.random.default_rng(0).normal(size=(6, 4))
    rows[4] = rows[1]  # the same text twice
    agreement = find(rows)
    kept = by_agreement(agreement, KS, rng=stream(1))
    assert kept.is_exact == (True,) * 6
    assert kept.n_sets == (0, 0, 20, 15, 6, 1)
    for row, k in enumerate(KS):
        assert kept.weights[row] == pytest.approx(over_all_sets(agreement, k), abs=1e-12), k


def test_agreements_are_those_of_scipy() -> None:
    rows = np.random.default_rng(1).normal(size=(7, 5)) + 100.0
    off = ~np.eye(7, dtype=bool)
    assert cosine_agreement(rows)[off] == pytest.approx(1 - cdist(rows, rows, "cosine")[off])
    assert -medoid_agreement(rows)[off] == pytest.approx(cdist(rows, rows)[off])


def test_drawn_sets_agree_with_all_sets_and_are_the_same_each_time() -> None:
    agreement = medoid_agreement(np.random.default_rng(2).normal(size=(9, 3)))
    drawn = by_agreement(agreement, [2, 4, 9], rng=stream(7, "sets"), n_sets=100)
    assert drawn.is_exact == (True, False, True)
    assert drawn.n_sets == (0, 100, 1)
    again = by_agreement(agreement, [4], rng=stream(7, "sets"), n_sets=100)
    assert (again.weights[0] == drawn.weights[1]).all()
    rows = np.random.default_rng(3).normal(size=(12, 3))
    exact = by_agreement(medoid_agreement(rows), [4], rng=stream(9), n_sets=495)  # C(12, 4)
    sampled = by_agreement(medoid_agreement(rows), [4], rng=stream(9), n_sets=494)
    assert (exact.is_exact, sampled.is_exact) == ((True,), (False,))
    # A share of 494 sets has a standard error of at most .023.
    assert sampled.weights == pytest.approx(exact.weights, abs=0.09)
    assert sampled.weights.sum() == pytest.approx(1.0)


def test_a_score_keeps_the_highest_exactly() -> None:
    scores, errors = np.random.default_rng(3).normal(size=(2, 6))
    kept = by_score(scores, KS)
    for row, k in enumerate(KS):
        by_hand = np.mean([errors[max(some, key=lambda j: scores[j])] for some in combinations(range(6), k)])
        assert kept.weights[row] @ errors == pytest.approx(by_hand)


def test_nobody_beats_the_oracle_and_all_are_alike_with_one_draw() -> None:
    rng = np.random.default_rng(4)
    rows, x = rng.normal(size=(8, 4)), rng.normal(size=4)
    errors = np.square(rows - x).mean(axis=1)
    ks = list(range(1, 9))
    oracle = by_error(errors, ks).weights @ errors
    assert oracle == pytest.approx(expected_lowest(errors))
    for kept in (
        by_score(rng.normal(size=8), ks),
        by_agreement(cosine_agreement(rows), ks, rng=stream(1)),
        by_agreement(medoid_agreement(rows), ks, rng=stream(1)),
    ):
        assert kept.weights[0] == pytest.approx(np.full(8, 1 / 8))
        assert (kept.weights @ errors >= oracle - 1e-12).all()
    assert [each for each in Selector if each.sees_target] == [Selector.ORACLE]


def test_the_medoid_is_not_moved_by_one_far_draw() -> None:
    rows = np.array([[0.0], [1.0], [2.0], [3.0], [1000.0]])
    kept = by_agreement(medoid_agreement(rows), [5], rng=stream(1))
    # The middle one, at 2; next to the mean (201) would be 3.
    assert kept.weights[0].tolist() == [0, 0, 1, 0, 0]


@pytest.mark.parametrize("find", [cosine_agreement, medoid_agreement])
def test_draws_that_failed_are_never_kept(find) -> None:
    rows = np.random.default_rng(5).normal(size=(5, 3))
    holed = np.insert(rows, 2, np.nan, axis=0)
    kept, plain = (by_agreement(find(each), [1, 3, 5], rng=stream(1)) for each in (holed, rows))
    assert (kept.weights[:, 2] == 0).all()
    assert np.delete(kept.weights, 2, axis=1) == pytest.approx(plain.weights)
    with pytest.raises(UndefinedMetricError, match="takes 6 draws; there are 5, 1 more failed"):
        by_agreement(find(holed), [6], rng=stream(1))
    only = by_agreement(find(rows[:1]), [1], rng=stream(1))
    assert only.weights.tolist() == [[1.0]]
    one_left = by_agreement(find(np.array([[1.0, 2.0], [np.nan, np.nan]])), [1], rng=stream(1))
    assert one_left.weights.tolist() == [[1.0, 0.0]]


def test_agreement_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="symmetric"):
        by_agreement(np.array([[0.0, 1.0], [2.0, 0.0]]), [1], rng=stream(1))
    with pytest.raises(ValueError, match=r"\[n, n\]"):
        by_agreement(np.zeros((2, 3)), [1], rng=stream(1))
