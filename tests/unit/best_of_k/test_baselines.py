from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overnight.best_of_k.baselines import mean_vector, means_without_own, others, reconstructions_of, shuffled
from overnight.best_of_k.definitions import Measure
from overnight.best_of_k.recovery import recovery
from overnight.best_of_k.sums import RecoverySums, RecoveryTally
from overnight.errors import UndefinedMetricError


def sums_of(x: np.ndarray, y: np.ndarray, sources: list[str]) -> RecoverySums:
    tally = RecoveryTally([1], x.shape[1], origin=np.full(x.shape[1], 3.0))
    for row, reconstruction, source in zip(x, y, sources, strict=True):
        tally.add(source, row, reconstruction[np.newaxis], np.ones((1, 1)))
    return tally.sums()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=30), st.integers(0, 50))
def test_shuffled_texts_are_each_used_once_and_never_by_their_own_source(
    sources: list[str], seed: int
) -> None:
    if 2 * Counter(sources).most_common(1)[0][1] > len(sources):
        with pytest.raises(UndefinedMetricError, match="are of one source"):
            shuffled(sources, seed)
        return
    donors = shuffled(sources, seed)
    assert sorted(donors) == list(range(len(sources)))
    assert all(sources[donor] != own for donor, own in zip(donors, sources, strict=True))
    assert (shuffled(sources, seed) == donors).all()


def test_shuffles_of_lone_vectors_are_derangements_that_differ_with_the_seed() -> None:
    sources = [str(n) for n in range(40)]
    found = {tuple(shuffled(sources, seed)) for seed in range(20)}
    assert len(found) == 20
    partners = np.array([shuffled(sources, seed)[0] for seed in range(600)])
    # Each of 39 partners is expected 15.4 times; four standard deviations are 15.
    assert np.bincount(partners, minlength=40)[0] == 0
    assert np.bincount(partners, minlength=40)[1:].max() < 31


def test_texts_of_others_are_of_other_sources_and_differ_while_they_can() -> None:
    sources = ["a", "a", "b", "c", "c"]
    found = others(sources, 0, 7, seed=1)
    assert set(found) == {2, 3, 4}
    assert len(set(found[:3])) == 3
    assert len(set(found[3:6])) == 3
    assert (others(sources, 0, 7, seed=1) == found).all()
    assert others(sources, 0, 0, seed=1).shape == (0,)
    with pytest.raises(UndefinedMetricError, match="no other texts"):
        others(["a", "a"], 0, 3, seed=1)


def test_the_mean_vector_recovers_nothing() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)) + 10.0
    sources = [f"s{n % 12}" for n in range(60)]
    sums = sums_of(x, x, sources)
    assert mean_vector(sums) == pytest.approx(x.mean(axis=0))
    of_all = sums_of(x, np.tile(mean_vector(sums), (60, 1)), sources)
    assert recovery(of_all, 1, Measure.NORMALISED_MSE) == pytest.approx(1.0)
    without = np.stack([mean_vector(sums, source) for source in sources])
    assert without[0] == pytest.approx(x[[source != "s0" for source in sources]].mean(axis=0))
    assert recovery(sums_of(x, without, sources), 1, Measure.NORMALISED_MSE) > 1.0
    assert means_without_own(sums) == pytest.approx(
        np.stack([mean_vector(sums, source) for source in sums.sources])
    )
    with pytest.raises(UndefinedMetricError, match="1 sources"):
        means_without_own(sums_of(x[:1], x[:1], ["s0"]))
    with pytest.raises(UndefinedMetricError, match="no vector is left"):
        mean_vector(sums_of(x[:1], x[:1], ["s0"]), "s0")


def test_a_baseline_takes_the_reconstructions_of_its_donors() -> None:
    kept = np.arange(24.0).reshape(3, 4, 2)
    found = reconstructions_of(np.array([2, 0]), np.array([1, 3]), kept)
    assert found.tolist() == [kept[2, 1].tolist(), kept[0, 3].tolist()]
    with pytest.raises(ValueError, match="one each"):
        reconstructions_of(np.array([2, 0]), np.array([1]), kept)
