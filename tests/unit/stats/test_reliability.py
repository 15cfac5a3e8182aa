import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from overnight.errors import UndefinedMetricError
from overnight.stats.cross_fitting import CalibrationFit, cross_fitted
from overnight.stats.reliability import reliability
from overnight.stats.rng import stream
from tests.unit.stats.scored import items_of, noisy

ANSWERS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40)


def columns(rows):
    probability, right = zip(*rows, strict=True)
    return np.array(probability), np.array(right)


def test_four_answers_by_hand() -> None:
    # .2: one of two right; .8: two of two. Gaps .3 and .2, so ECE .25; share right 3/4.
    found = reliability(np.array([0.2, 0.2, 0.8, 0.8]), np.array([True, False, True, True]), n_bins=2)
    assert [(b.n_items, b.mean_probability, b.share_right) for b in found.bins] == [
        (2, 0.2, 0.5),
        (2, 0.8, 1.0),
    ]
    assert found.ece == pytest.approx(0.25)
    assert found.brier == pytest.approx((0.64 + 0.04 + 0.04 + 0.04) / 4)
    assert found.brier_reliability == pytest.approx((0.09 + 0.04) / 2)
    assert found.brier_resolution == pytest.approx(1 / 16)
    assert found.brier_uncertainty == pytest.approx(3 / 16)
    assert found.brier_within_bins == pytest.approx(0, abs=1e-12)
    # Each squared gap less p (1 - p) / (n - 1): .09 - .25 and .04 - 0; below 0 together.
    assert found.rms_debiased == 0.0


@given(ANSWERS, st.sampled_from(["equal_width", "equal_mass"]), st.integers(1, 12))
def test_brier_is_scikit_learns_and_its_parts_add_up(rows, binning, n_bins) -> None:
    probability, right = columns(rows)
    found = reliability(probability, right, n_bins=n_bins, binning=binning)
    assert found.brier == pytest.approx(brier_score_loss(right, probability, pos_label=True), abs=1e-12)
    # Within bins, by its definition: variance of what was said less twice its covariance with being right.
    within = 0.0
    for part in found.bins:
        inside = (probability >= part.low) & (probability <= part.high)
        assert inside.sum() == part.n_items  # bins do not overlap and equal values are together
        said, was = probability[inside], right[inside]
        within += ((said - said.mean()) ** 2 - 2 * (said - said.mean()) * (was - was.mean())).sum()
    assert found.brier_within_bins == pytest.approx(within / len(rows), abs=1e-9)
    assert 0 <= found.ece <= 1
    assert sum(part.n_items for part in found.bins) == len(rows)


def test_the_table_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random(500)
    right = rng.random(500) < probability**2
    for binning, strategy in (("equal_width", "uniform"), ("equal_mass", "quantile")):
        found = reliability(probability, right, n_bins=10, binning=binning)
        share, said = calibration_curve(right, probability, n_bins=10, strategy=strategy)
        # Quantile edges are interpolated there, so an item on an edge may change bins.
        tolerance = 1e-9 if binning == "equal_width" else 0.025
        assert [b.mean_probability for b in found.bins] == pytest.approx(said.tolist(), abs=tolerance)
        assert [b.share_right for b in found.bins] == pytest.approx(share.tolist(), abs=tolerance)


def test_debiasing_takes_away_what_chance_alone_would_give() -> None:
    # Calibrated by construction: ECE is well above 0, the debiased squared error is 0 on average.
    rng = np.random.default_rng(1)
    plain, squared = [], []
    for _ in range(200):
        probability = np.repeat(np.linspace(0.05, 0.95, 10), 10)
        right = rng.random(100) < probability
        plain.append(reliability(probability, right).ece)
        shares = right.reshape(10, 10).mean(axis=1)
        squared.append(np.mean((shares - probability[::10]) ** 2 - shares * (1 - shares) / 9))
    assert np.mean(plain) > 0.08
    assert abs(np.mean(squared)) < 4 * np.std(squared) / 200**0.5
    off = reliability(np.full(1000, 0.9), np.arange(1000) < 600)
    assert off.rms_debiased == pytest.approx((0.09 - 0.24 / 999) ** 0.5)


def test_what_has_no_calibration_is_refused() -> None:
    with pytest.raises(ValueError, match="not a probability"):
        reliability(np.array([1.5]), np.array([True]))
    with pytest.raises(UndefinedMetricError, match="no items"):
        reliability(np.array([]), np.array([], dtype=bool))
    lone = reliability(np.array([0.1, 0.9]), np.array([True, False]), n_bins=2)
    assert lone.rms_debiased is None
    assert "one item" in lone.rms_undefined_because


@pytest.mark.parametrize("fit", CalibrationFit)
def test_a_fit_recovers_a_known_curve_and_never_saw_the_item(fit) -> None:
    # P(wrong) is the logistic curve of the score, so P(right) is known.
    rng = np.random.default_rng(2)
    scores = rng.normal(size=4000) * 2
    wrong = rng.random(4000) < 1 / (1 + np.exp(-scores))
    items = items_of(scores, wrong)
    found = cross_fitted(items, fit, rng=stream(0, "folds"))
    assert found.name == f"after {fit} calibration, 5-fold cross-fitted"
    assert np.abs(found.probability - 1 / (1 + np.exp(items.uncertainty))).mean() < 0.03
    assert reliability(found.probability, ~items.is_wrong).ece < 0.04


def test_a_fit_to_noise_gains_nothing() -> None:
    # In-sample isotonic regression would look sharp on noise; cross-fitted it is no better than the base rate.
    noise = noisy(200, seed=4, signal=0.0)
    found = cross_fitted(noise, CalibrationFit.ISOTONIC, rng=stream(0, "folds"))
    base = noise.n_right / 200
    assert np.mean((found.probability - noise.correctness) ** 2) > base * (1 - base) * 0.98


def test_platts_targets_keep_separated_classes_finite() -> None:
    items = items_of(range(20), [n >= 10 for n in range(20)])
    found = cross_fitted(items, CalibrationFit.PLATT, rng=stream(0, "folds"))
    assert ((found.probability > 0) & (found.probability < 1)).all()


def test_too_few_or_constant_scores_cannot_be_fitted() -> None:
    with pytest.raises(UndefinedMetricError, match="5 folds"):
        cross_fitted(items_of(range(9), [n < 4 for n in range(9)]), CalibrationFit.PLATT, rng=stream(0, "x"))
    with pytest.raises(UndefinedMetricError, match="one score"):
        cross_fitted(
            items_of([1] * 20, [n < 10 for n in range(20)]), CalibrationFit.PLATT, rng=stream(0, "x")
        )
