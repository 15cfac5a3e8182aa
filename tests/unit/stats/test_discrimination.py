import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from overnight.errors import UndefinedMetricError
from overnight.stats.auroc_resamples import paired_aurocs, stratified_aurocs
from overnight.stats.degeneracy import Degeneracy, Limits
from overnight.stats.discrimination import discriminate
from overnight.stats.rng import stream
from overnight.stats.selective_risk import risk_coverage
from tests.unit.stats.scored import items_of, noisy

NAMES = {"measure": "g_nll", "label": "f1", "seed": 7, "n_resamples": 200}


def test_golden_vector_12() -> None:
    items = items_of([0.1, 0.2, 0.3, 0.4], [False, False, True, True])
    found = discriminate(items, limits=Limits(fewest_of_a_class=2), **NAMES).ranking
    assert found.auroc == found.auprc == 1.0
    assert found.excess_aurc == pytest.approx(0, abs=1e-12)
    assert found.prediction_rejection_ratio == pytest.approx(1.0)
    assert found.se == 0.0
    assert found.delong.low is None


def test_the_record_is_what_the_libraries_and_the_definitions_give() -> None:
    items = noisy(300, seed=1)
    found = discriminate(items, **NAMES)
    ranking = found.ranking
    assert (found.n_items, found.n_right + found.n_wrong) == (300, 300)
    assert found.base_rate == found.n_wrong / 300
    assert ranking.auroc == pytest.approx(roc_auc_score(items.is_wrong, items.uncertainty))
    assert ranking.auprc == pytest.approx(average_precision_score(items.is_wrong, items.uncertainty))
    assert ranking.aurc == risk_coverage(-items.uncertainty, items.correctness, n_items=300).aurc
    for interval in (ranking.delong, ranking.logit, ranking.bootstrap):
        assert interval.low < ranking.auroc < interval.high


def test_a_degenerate_measure_has_counts_and_no_numbers() -> None:
    found = discriminate(items_of([1.0] * 12, [True] * 6 + [False] * 6), **NAMES)
    assert found.ranking is None
    assert found.degeneracy == Degeneracy.CONSTANT_SCORE
    assert "ranks nothing" in found.undefined_because
    assert (found.n_right, found.n_wrong, found.tie_share) == (6, 6, 1.0)
    nothing = discriminate(items_of([], []), **NAMES)
    assert (nothing.base_rate, nothing.tie_share, nothing.degeneracy) == (None, None, Degeneracy.NO_ITEMS)


def test_another_measure_has_another_stream_and_the_same_one_repeats() -> None:
    items = noisy(60, seed=2)
    first, again = (discriminate(items, **NAMES).ranking.bootstrap for _ in range(2))
    other = discriminate(items, **{**NAMES, "measure": "length"}).ranking.bootstrap
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)


def test_the_bootstrap_scatters_as_delong_says() -> None:
    # Two estimates of one standard error that share nothing but the items.
    items = noisy(500, seed=3)
    resamples = stratified_aurocs(items, n_resamples=2000, rng=stream(0, "x"))
    assert resamples.std() == pytest.approx(discriminate(items, **NAMES).ranking.se, rel=0.06)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=2, max_size=8), st.integers(0, 9))
def test_resamples_are_aurocs_of_drawn_items(rows, seed) -> None:
    # The mean over many resamples of an unbiased statistic is the statistic; and each is one of the possible
    # values, multiples of half a pair.
    scores, wrong = zip(*rows, strict=True)
    items = items_of(scores, wrong)
    if len(set(wrong)) == 1:
        with pytest.raises(UndefinedMetricError, match="nothing to resample"):
            stratified_aurocs(items, n_resamples=3, rng=stream(seed, "x"))
        return
    resamples = stratified_aurocs(items, n_resamples=2000, rng=stream(seed, "x"))
    assert resamples.mean() == pytest.approx(roc_auc_score(wrong, scores), abs=0.06)
    halves = resamples * 2 * items.n_right * items.n_wrong
    assert halves == pytest.approx(np.rint(halves))


def test_models_on_other_items_are_not_resampled_together() -> None:
    with pytest.raises(ValueError, match="different items"):
        paired_aurocs([noisy(9, 0), noisy(9, 0, first_key=1)], n_resamples=2, rng=stream(0, "x"))


def test_the_prediction_rejection_ratio_is_0_for_chance_and_1_for_the_best_order() -> None:
    right = np.array([1.0, 0, 1, 0])
    best = risk_coverage(np.array([4.0, 2, 3, 1]), right, n_items=4)
    assert best.prediction_rejection_ratio == pytest.approx(1)
    # Risks 1/1, 2/2, 2/3, 2/4 average .79167; the best order has 0, 0, 1/3, 2/4, so .20833; chance has .5.
    worst = risk_coverage(np.array([1.0, 4, 2, 3]), right, n_items=4)
    assert worst.prediction_rejection_ratio == pytest.approx((0.5 - 19 / 24) / (0.5 - 5 / 24))
    # All but one answer in a tie: the mean over the four places of the odd one is near chance, not row order.
    with pytest.raises(UndefinedMetricError, match="no order is better"):
        _ = risk_coverage(np.array([1.0, 2]), np.array([0.0, 0]), n_items=2).prediction_rejection_ratio


def test_tie_averaged_area_is_the_mean_over_random_tie_breaks() -> None:
    rng = np.random.default_rng(0)
    scores, right = rng.integers(0, 4, 60), (rng.random(60) < 0.6).astype(float)
    areas = []
    for _ in range(4000):
        order = np.lexsort((rng.random(60), scores))
        areas.append(np.mean(np.cumsum(1 - right[order]) / np.arange(1, 61)))
    curve = risk_coverage(-scores.astype(float), right, n_items=60)
    assert curve.aurc == pytest.approx(np.mean(areas), abs=4 * np.std(areas) / 4000**0.5)


def test_items_about_one_passage_are_resampled_together() -> None:
    # Every item four times: by passage the intervals are those of the single items, by item half as wide.
    single = noisy(80, seed=4)
    scores, wrong = np.tile(single.uncertainty, 4), np.tile(single.is_wrong, 4)
    passages = np.tile(np.arange(80), 4)
    alone, together, apart = (
        discriminate(items, **{**NAMES, "n_resamples": 1000})
        for items in (single, items_of(scores, wrong, clusters=passages), items_of(scores, wrong))
    )
    assert (together.n_items, together.n_clusters, apart.n_clusters) == (320, 80, 320)
    width = {
        name: found.ranking.bootstrap.high - found.ranking.bootstrap.low
        for name, found in (("alone", alone), ("together", together), ("apart", apart))
    }
    assert width["together"] == pytest.approx(width["alone"], rel=0.15)
    assert width["apart"] == pytest.approx(width["alone"] / 2, rel=0.15)
    assert together.ranking.delong.low == pytest.approx(alone.ranking.delong.low)
    assert together.ranking.delong.method == "DeLong, by cluster (Obuchowski)"
    assert together.ranking.bootstrap.method == "percentile bootstrap of 80 clusters"


def test_passages_of_one_item_each_change_nothing() -> None:
    items = noisy(60, seed=6)
    named = items_of(items.uncertainty, items.is_wrong, clusters=range(60))
    assert named.clusters is None
    assert discriminate(named, **NAMES) == discriminate(items, **NAMES)


def test_a_class_that_is_all_about_one_passage_is_named() -> None:
    items = items_of(range(20), [True] * 6 + [False] * 14, clusters=[0] * 6 + list(range(1, 15)))
    found = discriminate(items, **NAMES)
    assert found.degeneracy == Degeneracy.FEW_OF_A_CLASS
    assert found.undefined_because == (
        "14 right and 6 wrong answers; the 6 wrong ones are all about one passage, and it takes two"
    )
