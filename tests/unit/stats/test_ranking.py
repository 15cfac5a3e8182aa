import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from overnight.errors import UndefinedMetricError
from overnight.stats.ranking import auroc, percentile_interval, ranked_arm, ranking_resamples
from overnight.stats.rng import stream
from overnight.stats.selective_risk import risk_coverage

ITEMS = st.lists(
    st.tuples(st.integers(0, 4), st.booleans(), st.booleans(), st.integers(0, 3)), min_size=1, max_size=12
)


def test_confidence_that_falls_from_right_to_wrong_ranks_perfectly() -> None:
    # The golden vector: right, right, wrong, wrong with uncertainties .1, .2, .3, .4; less of it is surer.
    assert auroc(-np.array([0.1, 0.2, 0.3, 0.4]), np.array([1.0, 1, 0, 0])) == 1.0


def test_auroc_is_the_mann_whitney_share() -> None:
    rng = np.random.default_rng(3)
    confidence, right = rng.integers(0, 6, 40).astype(float), rng.integers(0, 2, 40).astype(float)
    u = stats.mannwhitneyu(confidence[right == 1], confidence[right == 0]).statistic
    assert auroc(confidence, right) == pytest.approx(u / (right.sum() * (1 - right).sum()))


@pytest.mark.parametrize("right", [[], [1.0, 1.0], [0.0, 0.0]])
def test_one_class_has_no_auroc_rather_than_a_half(right: list[float]) -> None:
    with pytest.raises(UndefinedMetricError, match="both right and wrong"):
        auroc(np.linspace(0, 1, len(right)), np.array(right))


@given(ITEMS)
def test_resampled_areas_are_those_of_the_repeated_items(items) -> None:
    confidence, right, answered, counts = (np.array(c) for c in zip(*items, strict=True))
    confidence, right = confidence.astype(float), right.astype(float)
    if not answered.any():
        with pytest.raises(UndefinedMetricError, match="nothing is answered"):
            ranked_arm(confidence, right, answered)
        return
    arm = ranked_arm(confidence, right, answered)
    weights = counts * answered
    aurc, roc = arm.aurc(counts[np.newaxis])[0], arm.auroc(counts[np.newaxis])[0]
    c, r = np.repeat(confidence, weights), np.repeat(right, weights)
    if len(np.unique(c)) > 1:
        assert aurc == pytest.approx(risk_coverage(c, r, n_items=len(c)).aurc)
    if not len(c):
        assert np.isnan(aurc)
    if len(np.unique(r)) > 1:
        assert roc == pytest.approx(roc_auc_score(r, c))
    else:
        assert np.isnan(roc)


def test_arms_are_resampled_together() -> None:
    # The same arm twice differs by nothing in any resample; independent resamples would scatter.
    rng = np.random.default_rng(0)
    confidence, right = rng.random(60), rng.integers(0, 2, 60).astype(float)
    arm = ranked_arm(confidence, right, np.ones(60, dtype=bool))
    first, second = ranking_resamples([arm, arm], np.arange(60), n_resamples=50, rng=stream(1, "a"))
    assert (first[0] == second[0]).all()
    assert np.ptp(first[1]) > 0


def test_the_interval_covers_the_area_about_as_often_as_it_says() -> None:
    # Right answers N(1, 1), wrong ones N(0, 1): AUROC = Phi(1 / sqrt 2) = .7602.
    rng, hits = np.random.default_rng(5), 0
    for _ in range(100):
        right = (np.arange(80) % 2).astype(float)
        arm = ranked_arm(rng.normal(right), right, np.ones(80, dtype=bool))
        ((_, rocs),) = ranking_resamples([arm], np.arange(80), n_resamples=200, rng=rng)
        interval = percentile_interval(rocs, 0.95)
        hits += interval.low <= stats.norm.cdf(2**-0.5) <= interval.high
    assert 87 <= hits <= 100


def test_resamples_of_which_many_are_undefined_have_no_bounds() -> None:
    assert percentile_interval(np.array([0.5, 0.6] * 9 + [np.nan] * 2), 0.95).low is None
    assert percentile_interval(np.array([]), 0.95).high is None
