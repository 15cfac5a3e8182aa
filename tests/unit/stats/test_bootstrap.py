import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from overnight.errors import UndefinedMetricError
from overnight.stats import resampling
from overnight.stats.bootstrap import paired_bootstrap
from overnight.stats.rng import stream

GOLDEN = np.array([0, 1, 0, -1, 1, 1, 0, 0, 0.5, -0.5])


def exact_quantile(differences: np.ndarray, step: float, share: float) -> float:
    """The quantile of the bootstrap mean, by convolving the distribution of one draw with itself N times."""
    ticks = np.rint(differences / step).astype(int)
    one_draw = np.bincount(ticks - ticks.min()) / len(ticks)
    total = np.array([1.0])
    for _ in ticks:
        total = np.convolve(total, one_draw)
    tick = int(np.searchsorted(np.cumsum(total), share))
    return float((tick / len(ticks) + ticks.min()) * step)


def test_the_golden_vector() -> None:
    interval = paired_bootstrap(GOLDEN, rng=stream(1337, "golden"))
    assert GOLDEN.mean() == pytest.approx(0.2)
    assert (interval.low, interval.high) == pytest.approx((-0.2, 0.6))


def test_the_interval_is_that_of_the_exact_bootstrap_distribution() -> None:
    # Sums are multiples of .5, so means are multiples of .05 and the exact quantiles are on that grid.
    assert exact_quantile(GOLDEN, 0.5, 0.025) == pytest.approx(-0.2)
    assert exact_quantile(GOLDEN, 0.5, 0.975) == pytest.approx(0.6)
    interval = paired_bootstrap(GOLDEN, n_resamples=200_000, rng=stream(5, "exact"))
    assert (interval.low, interval.high) == pytest.approx((-0.2, 0.6))


@pytest.mark.parametrize("kind", ["three values", "all distinct"])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_interval_agrees_with_scipy(kind: str, confidence: float) -> None:
    rng = np.random.default_rng(3)
    differences = (
        rng.integers(-1, 2, size=150).astype(float) if kind == "three values" else rng.normal(size=150)
    )
    ours = paired_bootstrap(differences, n_resamples=20_000, confidence=confidence, rng=stream(1, kind))
    theirs = stats.bootstrap(
        (differences,), np.mean, n_resamples=20_000, confidence_level=confidence, method="percentile", rng=rng
    ).confidence_interval
    # The Monte Carlo error of an extreme quantile at B = 20,000 is about .02 standard errors of the mean.
    tolerance = 0.1 * differences.std() / np.sqrt(150)
    assert ours.low == pytest.approx(theirs.low, abs=tolerance)
    assert ours.high == pytest.approx(theirs.high, abs=tolerance)


def test_memory_does_not_grow_with_the_number_of_pairs() -> None:
    differences = np.random.default_rng(1).normal(size=20_000)
    tracemalloc.start()
    paired_bootstrap(differences, n_resamples=200, rng=stream(1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6  # all draws at once would be 200 x 20,000 x 16 bytes = 64 MB


@pytest.mark.parametrize("values", [[0.0, 1.0, -1.0] * 40, np.linspace(-1, 1, 120).tolist()])
def test_the_chunk_size_changes_nothing(values: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = paired_bootstrap(np.array(values), n_resamples=500, rng=stream(1))
    monkeypatch.setattr(resampling, "CELLS_PER_CHUNK", 360)
    in_chunks = paired_bootstrap(np.array(values), n_resamples=500, rng=stream(1))
    assert (in_chunks.low, in_chunks.high) == pytest.approx((whole.low, whole.high), rel=1e-12)


def test_no_pairs_have_no_interval_and_one_pair_has_no_bounds() -> None:
    # The original reported (0, 0) and a point.
    with pytest.raises(UndefinedMetricError):
        paired_bootstrap(np.array([]), rng=stream(1))
    interval = paired_bootstrap(np.array([0.5]), rng=stream(1))
    assert (interval.low, interval.high) == (None, None)


def test_equal_differences_give_that_difference() -> None:
    interval = paired_bootstrap(np.full(7, 0.1), n_resamples=50, rng=stream(1))
    assert (interval.low, interval.high) == (0.1, 0.1)


@pytest.mark.parametrize(("n_resamples", "confidence"), [(0, 0.95), (10, 95.0), (10, 0.0)])
def test_settings_out_of_range_are_refused(n_resamples: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="n_resamples"):
        paired_bootstrap(GOLDEN, n_resamples=n_resamples, confidence=confidence, rng=stream(1))


def test_a_difference_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        paired_bootstrap(np.array([0.0, np.nan]), rng=stream(1))


@settings(max_examples=50)
@given(st.lists(st.sampled_from([-1.0, -0.25, 0.0, 0.3, 1.0]), min_size=2, max_size=30), st.randoms())
def test_the_order_of_the_pairs_does_not_matter(values: list[float], random: object) -> None:
    shuffled = sorted(values, key=lambda _: random.random())  # type: ignore[attr-defined]
    one = paired_bootstrap(np.array(values), n_resamples=99, rng=stream(1))
    assert one == paired_bootstrap(np.array(shuffled), n_resamples=99, rng=stream(1))
    assert min(values) <= one.low <= one.high <= max(values)  # type: ignore[operator]
