"""Maps in closed form, against scikit-learn and against planted truth."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from overnight.lens.affine import PENALTIES, explained, fit_affine


def _planted(n: int, noise: float, seed: int = 0):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(n, 5)) * [1, 10, 0.1, 3, 1] + [0, 50, 0, -2, 0]
    weight, bias = np.random.default_rng(99).normal(size=(3, 5)), np.array([1.0, -5.0, 0.0])
    targets = inputs @ weight.T + bias + noise * rng.normal(size=(n, 3))
    return inputs.astype(np.float32), targets.astype(np.float32), weight, bias


def test_a_map_that_is_there_is_found() -> None:
    inputs, targets, weight, bias = _planted(200, 0.0)
    held_inputs, held_targets, *_ = _planted(50, 0.0, seed=1)
    found = fit_affine(inputs, targets, held_inputs, held_targets, 0.0)
    assert np.allclose(found.weight, weight, atol=1e-4)
    assert np.allclose(found(held_inputs), held_inputs @ weight.T + bias, atol=1e-3)
    assert found.explained == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("penalty", [1e-4, 0.1, 3.0])
def test_it_is_ridge_regression_on_standardised_inputs(penalty: float) -> None:
    inputs, targets, *_ = _planted(40, 2.0)
    held_inputs, held_targets, *_ = _planted(30, 2.0, seed=1)
    scaler = StandardScaler().fit(inputs.astype(np.float64))
    ridge = Ridge(alpha=penalty * len(inputs)).fit(scaler.transform(inputs), targets)
    found = fit_affine(inputs, targets, held_inputs, held_targets, penalty)
    assert np.allclose(found(held_inputs), ridge.predict(scaler.transform(held_inputs)), atol=1e-4)
    # Explained by its definition.
    residuals = held_targets - ridge.predict(scaler.transform(held_inputs))
    spread = held_targets - held_targets.mean(axis=0)
    assert found.explained == pytest.approx(1 - (residuals**2).sum() / (spread**2).sum(), abs=1e-5)


def test_the_penalty_is_the_one_that_serves_other_texts_best() -> None:
    inputs, targets, *_ = _planted(8, 20.0)  # few rows and much noise: a small penalty learns the noise
    held = _planted(200, 20.0, seed=1)
    found = fit_affine(inputs, targets, *held[:2])
    each = {p: fit_affine(inputs, targets, *held[:2], p).explained for p in PENALTIES}
    assert found.penalty == max(each, key=lambda penalty: each[penalty])
    assert found.penalty > min(PENALTIES)


def test_numbers_that_never_vary_do_no_harm() -> None:
    inputs, targets, *_ = _planted(30, 0.1)
    held = _planted(30, 0.1, seed=1)
    constant = np.ones((30, 1), np.float32)
    for penalty in (None, 0.0, 1.0):
        with_it = fit_affine(
            np.hstack([inputs, constant]), targets, np.hstack([held[0], constant]), held[1], penalty
        )
        without = fit_affine(inputs, targets, held[0], held[1], penalty)
        assert np.allclose(with_it(np.hstack([held[0], constant])), without(held[0]), atol=1e-6)


def test_what_does_not_vary_has_no_share_explained() -> None:
    inputs, targets, *_ = _planted(10, 0.1)
    assert fit_affine(inputs, targets, inputs[:1], targets[:1]).explained is None
    assert explained(targets[:1], targets[:1]) is None


def test_the_mean_explains_nothing_and_the_vector_itself_everything() -> None:
    vectors = np.random.default_rng(3).normal(size=(20, 4)).astype(np.float32)
    assert explained(vectors, np.tile(vectors.mean(axis=0), (20, 1))) == pytest.approx(0, abs=1e-6)
    assert explained(vectors, vectors) == 1
    # A constant error of c in each of D dimensions costs N D c^2 of the sum of squares.
    spread = ((vectors - vectors.mean(axis=0)) ** 2).sum()
    assert explained(vectors, vectors + 0.5) == pytest.approx(1 - 20 * 4 * 0.25 / spread, abs=1e-5)
