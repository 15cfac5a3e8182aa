import numpy as np
import pytest
from scipy import stats

from overnight.best_of_k.definitions import Measure
from overnight.best_of_k.order_statistics import rank_weights
from overnight.best_of_k.recovery import left_out, recovery
from overnight.best_of_k.resampling import (
    NO_RESAMPLES,
    enough_vectors,
    intervals,
    resample,
    without_resamples,
)
from overnight.best_of_k.sums import RecoverySums, RecoveryTally, merge
from overnight.stats.clustered import resampled_counts
from overnight.stats.rng import stream

KS = [1, 4]


def sums_of(x: np.ndarray, y: np.ndarray, sources: list[str]) -> RecoverySums:
    tally = RecoveryTally(KS, x.shape[1])
    for row, draws, source in zip(x, y, sources, strict=True):
        tally.add(source, row, draws, rank_weights(np.square(row - draws).mean(axis=1), KS))
    return tally.sums()


def drawn(n: int, n_sources: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)) + rng.normal(size=(n_sources, 3))[np.arange(n) % n_sources]
    return x, x[:, np.newaxis] + rng.normal(size=(n, 4, 3)), [f"s{i % n_sources:03}" for i in range(n)]


def test_a_resample_is_what_the_vectors_of_its_sources_give() -> None:
    # The definition: build the resample out of whole sources, each copy a source of its own, and measure it.
    x, y, sources = drawn(14, 5)
    sums = sums_of(x, y, sources)
    found = resample(sums, KS, n_resamples=20, seed=3)
    counts = np.concatenate(list(resampled_counts(np.arange(5), 20, stream(3, "best-of-k bootstrap"))))
    for row, times in enumerate(counts):
        rows = [i for i in range(14) for _ in range(times[i % 5])]
        again = sums_of(x[rows], y[rows], [f"{n}" for n in range(len(rows))])
        for (k, measure), each in found.items():
            assert each.resampled[row] == pytest.approx(recovery(again, k, measure), rel=1e-10)


def test_without_a_source_is_what_the_other_vectors_give() -> None:
    x, y, sources = drawn(14, 5)
    found = resample(sums_of(x, y, sources), KS, n_resamples=1, seed=0)
    for place in range(5):
        rows = [i for i in range(14) if i % 5 != place]
        again = sums_of(x[rows], y[rows], [sources[i] for i in rows])
        for (k, measure), each in found.items():
            assert each.left_out[place] == pytest.approx(recovery(again, k, measure), rel=1e-10)
    assert left_out(sums_of(x, y, sources)).n.tolist() == [11, 11, 11, 11, 12]


@pytest.mark.parametrize("method", ["percentile", "BCa"])
@pytest.mark.parametrize("measure", [Measure.FVE, Measure.BIAS_AWARE_FVE, Measure.MSE])
def test_intervals_agree_with_scipy_where_every_vector_is_a_source(method: str, measure: Measure) -> None:
    rng = np.random.default_rng(1)
    x = rng.gamma(1.5, size=(60, 2))
    residual = rng.gamma(1.0, 0.4, size=(60, 2))
    tally = RecoveryTally([1], 2)
    for n in range(60):
        tally.add(f"s{n:02}", x[n], (x[n] - residual[n])[np.newaxis], np.ones((1, 1)))

    def by_definition(rows: np.ndarray, axis: int = -1) -> np.ndarray:
        own_x, own_r = x[rows], residual[rows]  # [..., N, D]
        spread = own_x.var(axis=-2, ddof=1).sum(axis=-1)
        if measure is Measure.FVE:
            return 1 - own_r.var(axis=-2, ddof=1).sum(axis=-1) / spread
        squares = np.square(own_r).mean(axis=-2)
        return (
            1 - squares.sum(axis=-1) / spread if measure is Measure.BIAS_AWARE_FVE else squares.mean(axis=-1)
        )

    theirs = stats.bootstrap(
        (np.arange(60),), by_definition, n_resamples=8000, method=method, vectorized=True, rng=rng
    )
    found = resample(tally.sums(), [1], [measure], n_resamples=8000, seed=2)[1, measure]
    both = intervals(found)
    ours = both.percentile if method == "percentile" else both.bca
    assert found.value == pytest.approx(float(by_definition(np.arange(60))))
    # The Monte Carlo error of an extreme quantile at B = 8,000 is about .03 standard errors.
    assert found.standard_error == pytest.approx(theirs.standard_error, rel=0.05)
    assert found.bias == pytest.approx(found.resampled.mean() - found.estimate)
    wanted = (theirs.confidence_interval.low, theirs.confidence_interval.high)
    assert (ours.low, ours.high) == pytest.approx(wanted, abs=0.15 * theirs.standard_error)


def test_vectors_of_one_sequence_widen_the_interval_and_copies_of_them_do_not_narrow_it() -> None:
    x, y, sources = drawn(40, 20)
    once = resample(sums_of(x, y, sources), [4], [Measure.MSE], n_resamples=400, seed=1)[4, Measure.MSE]
    rows = list(range(40)) * 5
    five = sums_of(x[rows], y[rows], [sources[i] for i in rows])
    copied = resample(five, [4], [Measure.MSE], n_resamples=400, seed=1)[4, Measure.MSE]
    assert copied.resampled == pytest.approx(once.resampled)
    alone = sums_of(x[rows], y[rows], [f"{n}" for n in range(200)])
    narrow = intervals(resample(alone, [4], [Measure.MSE], n_resamples=400, seed=1)[4, Measure.MSE])
    wide = intervals(copied)
    assert wide.percentile.high - wide.percentile.low > 1.5 * (  # type: ignore[operator]
        narrow.percentile.high - narrow.percentile.low  # type: ignore[operator]
    )


def test_a_gap_is_of_the_same_resamples() -> None:
    x, y, sources = drawn(60, 20)
    found = resample(sums_of(x, y, sources), KS, [Measure.BIAS_AWARE_FVE], n_resamples=300, seed=1)
    four, one = found[4, Measure.BIAS_AWARE_FVE], found[1, Measure.BIAS_AWARE_FVE]
    gap = four.less(one)
    assert gap.value == pytest.approx(four.estimate - one.estimate)
    assert (gap.resampled > 0).all()  # the best of 4 is never worse than one, in no resample
    of_gap, of_one = intervals(gap).percentile, intervals(one).percentile
    assert of_gap.high - of_gap.low < of_one.high - of_one.low  # type: ignore[operator]
    other = resample(sums_of(x, y, sources), KS, [Measure.BIAS_AWARE_FVE], n_resamples=300, seed=2)
    with pytest.raises(ValueError, match="other resamples"):
        four.less(other[1, Measure.BIAS_AWARE_FVE])


def test_shards_and_the_order_of_vectors_change_no_interval() -> None:
    x, y, sources = drawn(40, 10)
    whole = resample(sums_of(x, y, sources), KS, n_resamples=50, seed=1)
    parts = [sums_of(x[n::3], y[n::3], sources[n::3]) for n in (2, 0, 1)]
    joined = resample(merge(parts), KS, n_resamples=50, seed=1)
    for key, each in whole.items():
        assert joined[key].resampled == pytest.approx(each.resampled, rel=1e-12)
        theirs, ours = intervals(joined[key]), intervals(each)
        assert (theirs.bca.low, theirs.bca.high) == pytest.approx((ours.bca.low, ours.bca.high), rel=1e-9)


def test_where_there_is_no_interval_there_is_a_reason() -> None:
    x, y, _ = drawn(6, 3)
    one = resample(sums_of(x, y, ["a"] * 6), [1], n_resamples=20, seed=1)[1, Measure.FVE]
    assert intervals(one).bca.undefined_because == "one source has no interval"
    assert (one.standard_error, one.bias) == (None, None)
    # Three sources of one vector each: one resample in nine is a single vector three times, without spread.
    few = resample(sums_of(x[:3], y[:3], ["a", "b", "c"]), [1], n_resamples=200, seed=1)[1, Measure.FVE]
    assert few.value is not None
    assert "resamples have no value" in str(intervals(few).percentile.undefined_because)
    same = resample(sums_of(np.ones((4, 3)), y[:4], list("abcd")), [1], n_resamples=5, seed=1)[1, Measure.FVE]
    assert same.value is None
    assert "do not differ" in str(intervals(same).percentile.undefined_because)
    exact = sums_of(x, np.repeat(x[:, np.newaxis], 4, axis=1), list("abcdef"))
    flat = intervals(resample(exact, [1], n_resamples=20, seed=1)[1, Measure.MSE])
    assert (flat.percentile.low, flat.percentile.high) == (0.0, 0.0)
    assert "jackknife has no spread" in str(flat.bca.undefined_because)
    none = resample(RecoveryTally(KS, 3).sums(), KS, n_resamples=5, seed=1)[1, Measure.MSE]
    assert intervals(none).percentile.undefined_because == "there is no vector"


def test_roles_add_up_to_the_whole_and_small_ones_are_named() -> None:
    x, y, sources = drawn(30, 6)
    of_role = {
        "user": sums_of(x[:25], y[:25], sources[:25]),
        "system": sums_of(x[25:], y[25:], sources[25:]),
    }
    whole = sums_of(x, y, sources)
    assert recovery(merge(list(of_role.values())), 4, Measure.FVE) == pytest.approx(
        recovery(whole, 4, Measure.FVE), rel=1e-12
    )
    assert enough_vectors(of_role) == (["user"], {"system": "5 vectors; at least 11 are wanted"})


def test_without_resamples_there_is_the_same_number_and_no_interval() -> None:
    x, y, sources = drawn(14, 5)
    sums = sums_of(x, y, sources)
    alone = without_resamples(sums, KS)
    for key, found in resample(sums, KS, n_resamples=5, seed=1).items():
        assert alone[key].value == found.value
        assert (alone[key].standard_error, alone[key].bias) == (None, None)
        of_each = intervals(alone[key])
        assert (of_each.percentile.low, of_each.bca.high) == (None, None)
        assert of_each.percentile.undefined_because == NO_RESAMPLES
