"""Directions of traits: the definition, a direction that was planted, and what must not matter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from overnight.errors import UndefinedMetricError
from overnight.stats.rng import stream
from overnight.traits.labelled import Labelled
from overnight.traits.massive import massive_dimensions
from overnight.traits.methods import Method, direction

METHODS = [method for method in Method if method is not Method.RANDOM]


def planted(
    seed: int = 0, n: int = 40, d: int = 24, size: float = 4.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pairs that share what their scenario adds and differ by one direction, and that direction."""
    rng = np.random.default_rng(seed)
    way = rng.standard_normal(d)
    way /= np.linalg.norm(way)
    scenario = rng.standard_normal((n, d))
    positive, negative = (
        scenario + 0.3 * rng.standard_normal((n, d)) + sign * size / 2 * way for sign in (1, -1)
    )
    return positive, negative, way


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("is_paired", [True, False])
def test_a_planted_direction_is_found(method: Method, is_paired: bool) -> None:
    positive, negative, way = planted()
    found = direction(method, positive, negative, is_paired=is_paired)
    assert found.dtype == np.float32
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)
    assert found @ way > (0.8 if method is Method.GRADIENT else 0.95)


@pytest.mark.parametrize("method", METHODS)
def test_exchanging_the_sides_turns_a_direction_round(method: Method) -> None:
    positive, negative, _ = planted()
    one = direction(method, positive, negative, is_paired=True)
    other = direction(method, negative, positive, is_paired=True)
    # Where the gradient begins does not turn round with the sides.
    assert one @ other < (-0.9 if method is Method.GRADIENT else -0.9999)


@settings(max_examples=20)
@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 5), method=st.sampled_from(METHODS))
def test_the_unit_of_the_states_and_the_order_of_the_texts_do_not_matter(
    scale: float, seed: int, method: Method
) -> None:
    positive, negative, _ = planted(seed, n=12, d=6)
    order = np.random.default_rng(seed).permutation(len(positive))
    one = direction(method, positive, negative, is_paired=True)
    other = direction(method, scale * positive[order], scale * negative[order], is_paired=True)
    # The penalty of the gradient is on the length of the vector, which does have a unit.
    assert one @ other > (0.99 if method is Method.GRADIENT else 1 - 1e-4)


def test_a_mean_difference_by_hand() -> None:
    # Means (2, 4) and (-1, 0): the difference is (3, 4), of length 5.
    found = direction(
        Method.MEAN_DIFFERENCE, np.array([[1.0, 4], [3, 4]]), np.array([[-1.0, 0]]), is_paired=False
    )
    assert found == pytest.approx([0.6, 0.8])


def test_a_probe_is_that_of_scikit_learn_on_rows_of_length_one() -> None:
    positive, negative, _ = planted(size=1.0)
    rows = np.concatenate([positive, negative])
    fit = LogisticRegression(C=1.0, max_iter=1000).fit(
        rows / np.linalg.norm(rows, axis=1, keepdims=True), [1] * len(positive) + [0] * len(negative)
    )
    expected = fit.coef_[0] / np.linalg.norm(fit.coef_[0])
    assert direction(Method.PROBE, positive, negative, is_paired=True) == pytest.approx(expected, abs=1e-5)


def test_a_probe_does_not_listen_to_long_states() -> None:
    positive, negative, _ = planted()
    longer = positive * np.linspace(1, 50, len(positive))[:, np.newaxis]
    one, other = (direction(Method.PROBE, each, negative, is_paired=False) for each in (positive, longer))
    assert one == pytest.approx(other, abs=1e-6)


def test_components_are_those_of_scikit_learn() -> None:
    positive, negative, _ = planted(size=2.0)
    differences = positive - negative
    # PCA centres; of the differences both ways round the mean is zero, so that is what paired components are.
    paired = PCA(1, svd_solver="full").fit(np.concatenate([differences, -differences])).components_[0]
    pooled = PCA(1, svd_solver="full").fit(np.concatenate([positive, negative])).components_[0]
    for is_paired, expected in ((True, paired), (False, pooled)):
        found = direction(Method.PCA, positive, negative, is_paired=is_paired).astype(np.float64)
        assert abs(found @ expected) == pytest.approx(1, abs=1e-6)
        assert (positive @ found).mean() > (negative @ found).mean()


def test_the_wide_and_the_tall_way_to_a_component_agree() -> None:
    positive, negative, _ = planted(n=5, d=30)
    _, _, rows = np.linalg.svd(positive - negative)
    assert abs(direction(Method.PCA, positive, negative, is_paired=True) @ rows[0]) == pytest.approx(
        1, abs=1e-5
    )


def test_the_gradient_is_where_adam_climbs_the_objective_as_it_is_written() -> None:
    # The slope by finite differences of the definition; Adam as in algorithm 1 of arXiv:1412.6980.
    positive, negative, way = planted(n=8, d=6, size=1.0)

    def loss(v: np.ndarray) -> float:
        unit = v / np.linalg.norm(v)
        return -((positive @ unit).mean() - (negative @ unit).mean() - 0.01 * np.linalg.norm(v))

    at = stream(3, "gradient").standard_normal(len(way)) / len(way) ** 0.5
    m, v = np.zeros_like(at), np.zeros_like(at)
    for t in range(1, 101):
        g = approx_fprime(at, loss, 1e-7)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        at = at - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    expected = at / np.linalg.norm(at)
    assert direction(Method.GRADIENT, positive, negative, is_paired=True, seed=3) == pytest.approx(
        expected, abs=1e-4
    )


def test_a_random_direction_is_the_seeds_and_not_the_texts() -> None:
    positive, negative, _ = planted()
    make = lambda seed, one, other: direction(Method.RANDOM, one, other, is_paired=True, seed=seed)  # noqa: E731
    assert np.array_equal(make(1, positive, negative), make(1, negative, 2 * positive))
    assert abs(make(1, positive, negative) @ make(2, positive, negative)) < 0.9


@pytest.mark.parametrize("method", METHODS)
def test_equal_sides_have_no_direction(method: Method) -> None:
    positive, _, _ = planted()
    with pytest.raises(UndefinedMetricError):
        direction(method, positive, positive, is_paired=True)


@pytest.mark.parametrize("method", METHODS)
def test_rounding_is_no_direction(method: Method) -> None:
    # At the first layer every text may end on the same token: what is left of the states is their last bits.
    one = np.tile(np.arange(1.0, 9.0), (6, 1))
    other = one * (1 + 1e-8 * np.random.default_rng(0).standard_normal(one.shape))
    with pytest.raises(UndefinedMetricError):
        direction(method, one, other, is_paired=True)


def test_two_components_of_one_size_are_not_chosen_between() -> None:
    differences = np.array([[2.0, 0, 0], [0, 2.0, 0]])
    with pytest.raises(UndefinedMetricError, match="no component is the first"):
        direction(Method.PCA, differences, np.zeros_like(differences), is_paired=True)


def test_an_empty_side_is_undefined_and_a_wrong_shape_is_an_error() -> None:
    positive, negative, _ = planted()
    with pytest.raises(UndefinedMetricError, match="one side"):
        direction(Method.MEAN_DIFFERENCE, positive, negative[:0], is_paired=False)
    with pytest.raises(ValueError, match="no pairs"):
        direction(Method.MEAN_DIFFERENCE, positive, negative[1:], is_paired=True)
    with pytest.raises(ValueError, match=r"\[n, d\]"):
        direction(Method.MEAN_DIFFERENCE, positive, negative[:, 1:], is_paired=True)
    with pytest.raises(ValueError, match="uint16; want floats"):
        Labelled.of(positive.astype(np.uint16), negative, is_paired=True)
    with pytest.raises(ValueError, match="not finite"):
        Labelled.of(positive, np.full_like(negative, np.nan), is_paired=True)


def test_a_massive_dimension_is_left_out_and_is_zero() -> None:
    positive, negative, _ = planted()
    rng = np.random.default_rng(1)
    plain = direction(
        Method.PCA, np.delete(positive, 5, axis=1), np.delete(negative, 5, axis=1), is_paired=True
    )
    for side in (positive, negative):
        side[:, 5] = 5000 + 800 * rng.standard_normal(len(side))
    assert massive_dimensions(np.concatenate([positive, negative]), 100).tolist() == [5]
    drowned = direction(Method.PCA, positive, negative, is_paired=True)
    assert abs(drowned[5]) > 0.99
    dropped = direction(Method.PCA, positive, negative, is_paired=True, drop_massive=100)
    assert dropped[5] == 0
    assert np.delete(dropped, 5) == pytest.approx(plain, abs=1e-6)
