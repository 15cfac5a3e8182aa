import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overnight.errors import UndefinedMetricError
from overnight.stats.hodges_lehmann import hodges_lehmann

GOLDEN = np.array([0, 1, 0, -1, 1, 1, 0, 0, 0.5, -0.5])
ANY = st.lists(st.floats(-1e3, 1e3, allow_subnormal=False), min_size=1, max_size=40).map(np.array)
TIED = st.lists(st.sampled_from([-1.0, -1 / 3, 0.0, 0.1, 0.2, 0.3, 1.0]), min_size=1, max_size=60).map(
    np.array
)


def by_definition(differences: np.ndarray) -> float:
    first, second = np.triu_indices(len(differences))
    return float(np.median((differences[first] + differences[second]) / 2))


def test_the_golden_vector() -> None:
    assert hodges_lehmann(GOLDEN) == 0.25


@settings(max_examples=40)
@given(ANY | TIED)
def test_it_is_the_median_of_all_walsh_averages(differences: np.ndarray) -> None:
    assert hodges_lehmann(differences) == pytest.approx(by_definition(differences), rel=1e-14, abs=1e-300)


@settings(max_examples=40)
@given(TIED)
def test_sign_and_unit_and_order(differences: np.ndarray) -> None:
    estimate = hodges_lehmann(differences)
    assert hodges_lehmann(-differences) == pytest.approx(-estimate, abs=1e-16)
    assert hodges_lehmann(4.0 * differences) == 4.0 * estimate
    assert hodges_lehmann(differences[::-1]) == estimate


@pytest.mark.parametrize("n", [999, 2000])
def test_many_distinct_and_many_tied_values(n: int) -> None:
    # From 2,000 pairs on the original fell back on the plain median, near 0 for right and wrong.
    rng = np.random.default_rng(n)
    for differences in (
        rng.normal(size=n),
        rng.normal(0.1, 1, size=n).round(2),
        rng.choice([-1, 0, 0, 1.0], n),
    ):
        assert hodges_lehmann(differences) == pytest.approx(by_definition(differences), rel=1e-13, abs=1e-15)


def test_a_large_table_is_not_the_plain_median() -> None:
    # 30,000 of 40,000 differ by 0, the rest by 1: of the Walsh averages 9/16 are 0. With 28,000 it is 49 %.
    def table(n_zero: int) -> np.ndarray:
        return np.repeat([0.0, 1.0], [n_zero, 40_000 - n_zero])

    assert hodges_lehmann(table(30_000)) == 0.0
    assert hodges_lehmann(table(28_000)) == 0.5


def test_one_and_two_and_equal_differences() -> None:
    assert hodges_lehmann(np.array([0.3])) == 0.3
    assert hodges_lehmann(np.array([0.0, 1.0])) == 0.5
    assert hodges_lehmann(np.full(9, -0.1)) == -0.1
    assert hodges_lehmann(np.zeros(4)) == 0.0


def test_nothing_and_what_is_no_number_are_refused() -> None:
    with pytest.raises(UndefinedMetricError):
        hodges_lehmann(np.array([]))
    with pytest.raises(ValueError, match="finite"):
        hodges_lehmann(np.array([0.0, np.inf]))
