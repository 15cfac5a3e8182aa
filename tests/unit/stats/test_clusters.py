from random import Random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from overnight.stats.bootstrap import bootstrap_intervals
from overnight.stats.clusters import cluster_codes, cluster_sums
from overnight.stats.permutation import sign_flip_p
from overnight.stats.rng import stream


def test_clusters_by_hand() -> None:
    units = cluster_sums(np.array([1.0, 2.0, 5.0, -1.0]), np.array([0, 1, 0, 1]))
    assert sorted(zip(units.sums, units.sizes, strict=True)) == [(1.0, 2.0), (6.0, 2.0)]
    assert units.mean == 7 / 4


def test_an_item_without_a_cluster_is_one_of_its_own() -> None:
    codes = cluster_codes(["a", "b", "c", "d"], {"a": "p", "c": "p", "d": ""})
    assert codes is not None
    assert len(set(codes)) == 3
    assert codes[0] == codes[2]


@pytest.mark.parametrize("clusters", [None, {}, {"a": "p", "b": "q"}])
def test_clusters_of_one_item_are_no_clusters(clusters: dict[str, str] | None) -> None:
    assert cluster_codes(["a", "b"], clusters) is None


@settings(max_examples=40)
@example([(0.0, 0), (8e-174, 1)], Random(1))  # cubes of such differences are 0
@given(st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 4)), min_size=2, max_size=30), st.randoms())
def test_the_order_of_the_rows_does_not_matter(rows: list[tuple[float, int]], random: Random) -> None:
    shuffled = sorted(rows, key=lambda _: random.random())
    results = []
    for each in (rows, shuffled):
        values, codes = (np.array(column) for column in zip(*each, strict=True))
        intervals = bootstrap_intervals(values, n_resamples=50, rng=stream(1), clusters=codes)
        results.append((intervals, sign_flip_p(values, n_resamples=50, rng=stream(2), clusters=codes)))
    assert results[0] == results[1]


def test_one_question_asked_ten_times_is_worth_one_question() -> None:
    # Ten copies of each difference in one cluster: the interval and the p-value of the differences alone.
    values = np.random.default_rng(2).normal(0.3, 1, size=40).round(1)
    codes = np.repeat(np.arange(40), 10)
    alone = bootstrap_intervals(values, n_resamples=4000, rng=stream(1)).percentile
    copies = bootstrap_intervals(np.repeat(values, 10), n_resamples=4000, rng=stream(1), clusters=codes)
    assert copies.n_clusters == 40
    assert (copies.percentile.low, copies.percentile.high) == pytest.approx((alone.low, alone.high))
    assert sign_flip_p(np.repeat(values, 10), rng=stream(3), clusters=codes) == pytest.approx(
        sign_flip_p(values, rng=stream(3))
    )
    as_if_independent = bootstrap_intervals(np.repeat(values, 10), n_resamples=4000, rng=stream(1)).percentile
    assert as_if_independent.high - as_if_independent.low < 0.5 * (alone.high - alone.low)  # type: ignore[operator]


@pytest.mark.parametrize("n_clusters", [30, 300])
def test_unequal_clusters_agree_with_scipys_bootstrap_of_a_ratio(n_clusters: int) -> None:
    rng = np.random.default_rng(n_clusters)
    codes = np.sort(np.concatenate([np.arange(n_clusters), rng.integers(n_clusters, size=2 * n_clusters)]))
    values = (rng.normal(size=n_clusters)[codes] + rng.normal(0.2, 1, size=len(codes))).round(1)
    sums, sizes = np.bincount(codes, values), np.bincount(codes).astype(float)

    def ratio(sums: np.ndarray, sizes: np.ndarray, axis: int = -1) -> np.ndarray:
        return sums.sum(axis=axis) / sizes.sum(axis=axis)

    ours = bootstrap_intervals(values, n_resamples=8000, rng=stream(1), clusters=codes)
    error = np.std(sums - values.mean() * sizes) / sizes.mean() / np.sqrt(n_clusters)
    for method, interval in (("percentile", ours.percentile), ("BCa", ours.bca)):
        theirs = stats.bootstrap(
            (sums, sizes), ratio, paired=True, vectorized=True, n_resamples=8000, method=method, rng=rng
        ).confidence_interval
        # The Monte Carlo error of an extreme quantile at B = 8,000 is about .03 standard errors.
        assert (interval.low, interval.high) == pytest.approx((theirs.low, theirs.high), abs=0.15 * error)


def test_the_method_names_the_clusters() -> None:
    intervals = bootstrap_intervals(
        np.arange(6.0), n_resamples=50, rng=stream(1), clusters=np.array([0, 0, 1, 1, 2, 2])
    )
    assert intervals.percentile.method == "percentile bootstrap of 3 clusters"
    assert intervals.bca.method == "BCa bootstrap of 3 clusters"


def test_one_cluster_has_no_interval() -> None:
    intervals = bootstrap_intervals(np.array([0.0, 1.0]), rng=stream(1), clusters=np.array([3, 3]))
    assert (intervals.percentile.low, intervals.bca.high) == (None, None)
    assert intervals.percentile.undefined_because == "one cluster has no interval"


def test_a_code_is_wanted_for_every_value() -> None:
    with pytest.raises(ValueError, match="1 cluster codes for 2 values"):
        cluster_sums(np.array([0.0, 1.0]), np.array([0]))
