"""Dynamics of projections and cosines of directions, by hand."""

from pathlib import Path

import numpy as np
import pytest

from overnight.traits.dynamics import (
    acceleration,
    commitment,
    mean_speed,
    persistence,
    scalar,
    velocity,
    windowed_commitment,
)
from overnight.traits.superposition import superposition, write_superposition


def one(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_golden_15() -> None:
    assert velocity(one(0, 1, 3)).tolist() == [1, 2]
    assert acceleration(one(0, 1, 3)).tolist() == [1]
    assert mean_speed(one(0, 1, 3)) == 1.5


def test_commitment_is_the_first_small_bend() -> None:
    # Accelerations of 0 2 5 5.05 5.1: 1, -2.95, 0.
    series = one(0, 2, 5, 5.05, 5.1)
    assert commitment(series, below=0.1, is_absolute=True) == 2
    assert commitment(series, below=1.1, is_absolute=True) == 0
    # Its standard deviation (ddof 1) is 2.323; the bends 1 and 2.95 are above .4 of it, and 1 is below .5 of it.
    assert commitment(series, below=0.4) == 2
    assert commitment(series, below=0.5) == 0


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e4])
def test_a_relative_bound_does_not_know_the_unit(factor: float) -> None:
    series = one(0, 2, 5, 5.05, 5.1)
    assert commitment(factor * series, below=0.4) == 2
    assert windowed_commitment(factor * series, window=3) == 2
    assert persistence(factor * series[::-1]) == 2


def test_what_never_moved_did_not_settle() -> None:
    constant = one(3, 3, 3, 3, 3)
    assert scalar(commitment(constant)) is None
    assert scalar(windowed_commitment(constant, window=2)) is None
    # In absolute units it is settled from the start.
    assert commitment(constant, below=0.1, is_absolute=True) == 0


def test_a_window_is_named_by_its_first_token() -> None:
    # Variances of windows of 3 in 0 4 1 2 2 2: 13/3, 7/3, 1/3, 0.
    series = one(0, 4, 1, 2, 2, 2)
    assert windowed_commitment(series, window=3, below=0.01, is_absolute=True) == 3
    assert windowed_commitment(series, window=3, below=0.5, is_absolute=True) == 2


def test_persistence_counts_what_is_above_half_of_the_peak_after_it() -> None:
    # The peak is -4, in magnitude; after it 3 and -2.5 are above 2, 2 is not; the 3 before it does not count.
    assert persistence(one(3, -4, 3, 1, -2.5, 2)) == 2
    assert persistence(one(1, 2, 4)) == 0


@pytest.mark.parametrize("series", [one(), one(1), one(1, 2)])
def test_short_series_are_undefined_and_never_zero(series: np.ndarray) -> None:
    assert scalar(commitment(series)) is None
    assert scalar(windowed_commitment(series)) is None
    if len(series) < 2:
        assert scalar(mean_speed(series)) is None
    if not len(series):
        assert scalar(persistence(series)) is None


def test_a_series_that_is_undefined_anywhere_has_no_dynamics() -> None:
    broken = one(0, np.nan, 1, 1, 1)
    for measure in (mean_speed, commitment, persistence):
        assert scalar(measure(broken)) is None
    assert scalar(windowed_commitment(broken, window=2)) is None
    assert scalar(persistence(one(0, 0, 0))) is None


@pytest.mark.parametrize("measure", [mean_speed, commitment, windowed_commitment, persistence])
def test_all_series_at_once_are_one_after_the_other(measure) -> None:
    rng = np.random.default_rng(0)
    series = rng.standard_normal((30, 4, 3)).astype(np.float32)
    series[10:, 0] = series[9, 0]
    series[5, 1, 1] = np.nan
    together = measure(series)
    apart = [[measure(series[:, p, v]) for v in range(3)] for p in range(4)]
    assert np.array_equal(together, np.array(apart), equal_nan=True)


def test_bounds_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="below"):
        commitment(one(1, 2, 3), below=0)
    with pytest.raises(ValueError, match="window"):
        windowed_commitment(one(1, 2, 3), window=1)
    with pytest.raises(ValueError, match="above"):
        persistence(one(1, 2, 3), above=1)


def test_cosines_by_hand() -> None:
    # (1, 0), (3, 4), -(1, 0): cosines .6, -1, -.6.
    found = superposition(np.array([[1.0, 0], [3, 4], [-1, 0]]))
    assert found == pytest.approx(np.array([[1, 0.6, -1], [0.6, 1, -0.6], [-1, -0.6, 1]]))
    assert np.array_equal(found, found.T)


def test_a_zero_direction_has_no_cosines() -> None:
    found = superposition(np.array([[1.0, 0], [0, 0]]))
    assert found[0, 0] == 1
    assert np.isnan(found[1]).all()
    assert np.isnan(found[:, 1]).all()


def test_cosines_are_a_table_with_names(tmp_path: Path) -> None:
    write_superposition(
        tmp_path / "superposition.csv", ["calm", "a, b", "none"], np.array([[1.0, 0], [3, 4], [0, 0]])
    )
    assert (tmp_path / "superposition.csv").read_text() == (
        'trait,calm,"a, b",none\ncalm,1.000000,0.600000,\n"a, b",0.600000,1.000000,\nnone,,,\n'
    )
