from dataclasses import fields
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import explained_variance_score, r2_score

from overnight.best_of_k.definitions import DEFINITIONS, Measure
from overnight.best_of_k.order_statistics import rank_weights
from overnight.best_of_k.recovery import r_squared_by_dimension, recovery
from overnight.best_of_k.sums import RecoverySums, RecoveryTally, merge
from overnight.errors import UndefinedMetricError

ALL = list(Measure)


def of_one_draw(x: np.ndarray, y: np.ndarray, origin: np.ndarray | None = None) -> RecoverySums:
    tally = RecoveryTally([1], x.shape[1], origin)
    for index, (row, reconstruction) in enumerate(zip(x, y, strict=True)):
        tally.add(f"s{index}", row, reconstruction[np.newaxis], np.ones((1, 1)))
    return tally.sums()


def of_best(x: np.ndarray, y: np.ndarray, ks: list[int], sources: list[str] | None = None) -> RecoverySums:
    tally = RecoveryTally(ks, x.shape[1])
    for index, (row, draws) in enumerate(zip(x, y, strict=True)):
        weights = rank_weights(np.square(row - draws).mean(axis=1), ks)
        tally.add(sources[index] if sources else f"s{index}", row, draws, weights)
    return tally.sums()


def test_the_golden_vector() -> None:
    x = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
    sums = of_one_draw(x, x + 1.0)
    found = {measure: recovery(sums, 1, measure) for measure in ALL}
    assert found[Measure.FVE] == 1.0
    assert found[Measure.BIAS_AWARE_FVE] == pytest.approx(1 - (1 + 1) / (4 / 3 + 4 / 3))
    assert found[Measure.BIAS_AWARE_FVE] == pytest.approx(0.25)
    assert found[Measure.R_SQUARED_GRAND] == pytest.approx(1 - 8 / 8)
    assert found[Measure.MSE] == 1.0
    assert found[Measure.NORMALISED_MSE] == pytest.approx(8 / 8)
    assert r_squared_by_dimension(sums, 1).by_dimension == pytest.approx((0.0, 0.0))
    # x = (0, 0) has no direction; (2, 0) and (0, 2) are at 6 / (2 sqrt(10)) from theirs, (2, 2) at 1.
    by_hand = (3 * 2 / (2 * np.sqrt(10)) * 2 + 1) / 3
    assert found[Measure.COSINE] == pytest.approx(by_hand)
    assert sums.n_cosine.sum() == 3


@pytest.mark.parametrize("far", [0.0, 1e5])
def test_each_measure_is_that_of_an_independent_library(far: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 6)) * [1, 2, 3, 4, 5, 0.1] + rng.normal(size=6) + far
    y = x + rng.normal(size=x.shape) + 0.3
    sums = of_one_draw(x, y, origin=x[0])
    weighted = {"multioutput": "variance_weighted"}
    assert recovery(sums, 1, Measure.FVE) == pytest.approx(explained_variance_score(x, y, **weighted))
    r_squared = r2_score(x, y, **weighted)
    assert recovery(sums, 1, Measure.NORMALISED_MSE) == pytest.approx(1 - r_squared)
    assert recovery(sums, 1, Measure.BIAS_AWARE_FVE) == pytest.approx(1 - (1 - r_squared) * 49 / 50)
    assert recovery(sums, 1, Measure.MSE) == pytest.approx(np.square(x - y).mean())
    assert recovery(sums, 1, Measure.R_SQUARED_GRAND) == pytest.approx(r2_score(x.ravel(), y.ravel()))
    cosines = (x * y).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    assert recovery(sums, 1, Measure.COSINE) == pytest.approx(cosines.mean())
    of_each = r_squared_by_dimension(sums, 1)
    assert of_each.by_dimension == pytest.approx(r2_score(x, y, multioutput="raw_values"))
    assert of_each.mean == pytest.approx(r2_score(x, y))


def test_the_grand_r_squared_is_high_for_knowing_only_the_means_and_the_others_are_not() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 8)) + np.linspace(0, 50, 8)
    sums = of_one_draw(x, np.tile(x.mean(axis=0), (200, 1)))
    assert recovery(sums, 1, Measure.R_SQUARED_GRAND) > 0.99
    assert recovery(sums, 1, Measure.FVE) == pytest.approx(0.0, abs=1e-9)
    assert recovery(sums, 1, Measure.BIAS_AWARE_FVE) == pytest.approx(1 / 200)
    assert recovery(sums, 1, Measure.NORMALISED_MSE) == pytest.approx(1.0)
    assert r_squared_by_dimension(sums, 1).mean == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_every_measure_is_the_mean_over_all_choices_of_k_draws_for_every_vector(k: int) -> None:
    # Sets of K are drawn for every vector by itself: all 3^3 (or 1) ways to do so, each by the plain definition.
    rng = np.random.default_rng(2)
    x = rng.normal(size=(3, 3))
    y = x[:, np.newaxis] + rng.normal(size=(3, 3, 3))
    sums = of_best(x, y, [1, 2, 3])
    error = np.square(x[:, np.newaxis] - y).sum(axis=2)
    of_each: list[list[float]] = []
    for choice in product(combinations(range(3), k), repeat=3):
        kept = np.array([y[i, min(some, key=lambda j, i=i: error[i, j])] for i, some in enumerate(choice)])
        of_each.append([recovery(of_one_draw(x, kept), 1, measure) for measure in ALL])
    found = [recovery(sums, k, measure) for measure in ALL]
    assert found == pytest.approx(np.mean(of_each, axis=0).tolist(), rel=1e-12)


def test_measures_that_count_a_constant_error_never_worsen_with_k() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(30, 5))
    ks = list(range(1, 17))
    sums = of_best(x, x[:, np.newaxis] + rng.normal(size=(30, 16, 5)), ks)
    for measure in (Measure.MSE, Measure.NORMALISED_MSE, Measure.BIAS_AWARE_FVE, Measure.R_SQUARED_GRAND):
        sign = 1 if DEFINITIONS[measure].is_higher_better else -1
        assert (np.diff([sign * recovery(sums, k, measure) for k in ks]) > 0).all(), measure


@settings(max_examples=14, deadline=None)
@given(st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_any_split_into_shards_gives_the_same(n_shards: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(23, 4)) + 30.0
    y = x[:, np.newaxis] + rng.normal(size=(23, 5, 4))
    sources = [f"s{n}" for n in rng.integers(9, size=23)]
    ks = [1, 2, 5]
    whole = of_best(x, y, ks, sources)
    shard = rng.integers(n_shards, size=23)
    parts = [
        of_best(x[shard == n], y[shard == n], ks, [sources[i] for i in np.flatnonzero(shard == n)])
        for n in rng.permutation(n_shards)
    ]
    joined = merge(parts)
    assert joined.sources == whole.sources
    for field in fields(RecoverySums):
        if isinstance(value := getattr(whole, field.name), np.ndarray):
            assert getattr(joined, field.name) == pytest.approx(value, rel=1e-12, abs=1e-12), field.name
    for k in ks:
        for measure in ALL:
            assert recovery(joined, k, measure) == pytest.approx(recovery(whole, k, measure), rel=1e-12)


def test_room_is_made_for_any_number_of_sources() -> None:
    x = np.random.default_rng(4).normal(size=(70, 2))
    sums = of_one_draw(x, np.zeros_like(x))
    assert sums.n_vectors == len(sums.sources) == 70
    assert sums.x[sums.sources.index("s33")] == pytest.approx(x[33])


def test_a_draw_that_failed_is_not_looked_at() -> None:
    x = np.array([1.0, 2.0])
    draws = np.array([[1.0, 1.0], [np.nan, np.nan], [0.0, 2.0]])
    tally = RecoveryTally([1, 2], 2)
    tally.add("a", x, draws, rank_weights(np.square(x - draws).mean(axis=1), [1, 2]))
    assert recovery(tally.sums(), 1, Measure.MSE) == pytest.approx(0.5)


def test_where_there_is_no_value_there_is_a_reason() -> None:
    tally = RecoveryTally([1], 2)
    tally.leave_out(3)
    with pytest.raises(UndefinedMetricError, match=r"there is no vector \(3 left out"):
        recovery(tally.sums(), 1, Measure.MSE)
    same = of_one_draw(np.full((5, 2), 0.1), np.zeros((5, 2)))
    for measure in (Measure.FVE, Measure.BIAS_AWARE_FVE, Measure.NORMALISED_MSE, Measure.R_SQUARED_GRAND):
        with pytest.raises(UndefinedMetricError, match="5 vectors"):
            recovery(same, 1, measure)
    with pytest.raises(UndefinedMetricError, match="varies"):
        r_squared_by_dimension(same, 1)
    with pytest.raises(UndefinedMetricError, match="reconstruction of it, is zero"):
        recovery(same, 1, Measure.COSINE)
    one_flat = of_one_draw(np.array([[1.0, 7.0], [2.0, 7.0]]), np.zeros((2, 2)))
    assert r_squared_by_dimension(one_flat, 1).by_dimension[1] is None
    assert r_squared_by_dimension(one_flat, 1).n_undefined == 1


def test_what_cannot_be_added_is_refused() -> None:
    tally = RecoveryTally([1], 2)
    with pytest.raises(ValueError, match="not finite"):
        tally.add("a", np.array([np.nan, 1.0]), np.zeros((1, 2)), np.ones((1, 1)))
    with pytest.raises(ValueError, match="rows of sum 1"):
        tally.add("a", np.zeros(2), np.zeros((1, 2)), np.full((1, 1), 0.5))
    with pytest.raises(ValueError, match="D=2"):
        tally.add("a", np.zeros(3), np.zeros((1, 3)), np.ones((1, 1)))
    with pytest.raises(ValueError, match="another origin"):
        merge([tally.sums(), RecoveryTally([1], 2, np.ones(2)).sums()])
    with pytest.raises(ValueError, match="no sums"):
        merge([])
