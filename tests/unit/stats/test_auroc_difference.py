from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from overnight.stats.auroc_difference import adjusted, compare_apart, compare_measures, compare_models
from overnight.stats.delong import placements
from overnight.stats.rng import stream
from tests.unit.stats.scored import items_of, noisy


def three_measures(n=200):
    rng = np.random.default_rng(5)
    wrong = rng.random(n) < 0.5
    base = rng.normal(size=n) + wrong
    return {
        "sum": items_of(base, wrong),
        "mean": items_of(base + rng.normal(size=n), wrong),
        "exp_mean": items_of(np.exp(base), wrong),  # ranks as "sum"
        "constant": items_of(np.ones(n), wrong),
    }


def test_measures_are_tested_on_the_same_items_by_delong() -> None:
    measures = three_measures()
    found = {(d.first, d.second): d for d in compare_measures(measures)}
    assert list(found) == list(combinations(measures, 2))
    test = found["sum", "mean"]
    # Over all pairs of a wrong and a right answer, by the definition.
    psi = [
        np.sign(m.uncertainty[m.is_wrong][:, None] - m.uncertainty[~m.is_wrong]) / 2 + 0.5
        for m in (measures["sum"], measures["mean"])
    ]
    d = psi[1] - psi[0]
    se = (d.mean(axis=1).var(ddof=1) / d.shape[0] + d.mean(axis=0).var(ddof=1) / d.shape[1]) ** 0.5
    assert test.difference == pytest.approx(d.mean())
    assert test.se == pytest.approx(se)
    assert test.p_value == pytest.approx(2 * stats.norm.sf(abs(d.mean()) / se))
    assert (test.low, test.high) == pytest.approx(stats.norm.interval(0.95, d.mean(), se))
    assert test.q_value >= test.p_value


def test_measures_that_rank_alike_have_no_p_value() -> None:
    # Perplexity is exp of the average NLL; a difference of 0 without error is no test.
    found = {(d.first, d.second): d for d in compare_measures(three_measures())}
    alike = found["sum", "exp_mean"]
    assert (alike.difference, alike.p_value, alike.q_value) == (0.0, None, None)
    assert "rank these items alike" in alike.undefined_because


def test_a_degenerate_measure_takes_part_in_no_test_and_says_why() -> None:
    found = [d for d in compare_measures(three_measures()) if "constant" in (d.first, d.second)]
    assert len(found) == 3
    assert all(d.difference is None and "constant: all 200 items" in d.undefined_because for d in found)


def test_an_item_that_one_measure_misses_is_in_no_test() -> None:
    whole, wrong = noisy(100, seed=1), noisy(100, seed=1).is_wrong
    holed = items_of([None if n < 4 else n % 7 for n in range(100)], wrong)
    (test,) = compare_measures({"a": whole, "b": holed})
    assert test.n_items == 96
    assert test.auroc_first == placements(whole.uncertainty[4:], wrong[4:]).auroc


def test_measures_with_different_labels_are_no_family() -> None:
    with pytest.raises(ValueError, match="by one label"):
        compare_measures({"a": noisy(50, 1), "b": noisy(50, 2)})


def test_two_models_with_their_own_labels_are_resampled_together() -> None:
    first, second = noisy(250, 1, signal=0.3), noisy(250, 2, signal=1.5)
    there = compare_models(("a", first), ("b", second), rng=stream(0, "x"), n_resamples=999)
    back = compare_models(("b", second), ("a", first), rng=stream(0, "x"), n_resamples=999)
    assert "labels differ" in there.method
    assert there.difference == pytest.approx(
        placements(second.uncertainty, second.is_wrong).auroc
        - placements(first.uncertainty, first.is_wrong).auroc
    )
    assert back.difference == -there.difference
    assert back.p_value == there.p_value
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
    # These two were drawn apart, so the variances of the one and the other nearly add up.
    apart = compare_apart(("a", first), ("b", second))
    assert there.se == pytest.approx(apart.se, rel=0.15)
    assert there.p_value == pytest.approx(
        2 / 1000
    )  # no resample on the other side: (0 + 1) / (999 + 1), twice


def test_a_model_against_itself_differs_in_no_resample() -> None:
    items = noisy(60, 3)
    same = compare_models(("a", items), ("a again", items), rng=stream(0, "x"), n_resamples=50)
    assert (same.difference, same.p_value) == (0.0, None)
    assert "alike" in same.undefined_because


def test_models_are_compared_over_shared_items_only() -> None:
    found = compare_models(
        ("a", noisy(100, 1)), ("b", noisy(100, 2, first_key=60)), rng=stream(0, "x"), n_resamples=50
    )
    assert found.n_items == 40
    none = compare_models(
        ("a", noisy(100, 1)), ("b", noisy(100, 2, first_key=100)), rng=stream(0, "x"), n_resamples=50
    )
    assert none.difference is None
    assert "no item has a label" in none.undefined_because


def test_whole_clusters_are_drawn_where_they_are_named() -> None:
    # Every item four times: as items, the error would be halved; as clusters it is that of the 100.
    rng = np.random.default_rng(0)
    wrong, scores, others = rng.random(100) < 0.5, rng.normal(size=100), rng.normal(size=100)
    alike = np.tile(np.arange(100), 4)
    fourfold = [items_of(np.tile(s + wrong, 4), np.tile(wrong, 4), clusters=alike) for s in (scores, others)]
    single = [items_of(s + wrong, wrong) for s in (scores, others)]
    found = {
        name: compare_models(("a", pair[0]), ("b", pair[1]), rng=stream(0, "x"), n_resamples=800)
        for name, pair in (("clusters", fourfold), ("single", single))
    }
    assert found["clusters"].se == pytest.approx(found["single"].se, rel=0.12)
    assert found["clusters"].method.endswith("; whole clusters drawn")
    assert found["single"].method.endswith("labels differ")


def test_measures_are_compared_over_whole_clusters() -> None:
    # Every item four times adds nothing to know: the test is that of the items alone.
    rng = np.random.default_rng(3)
    wrong = rng.random(60) < 0.5
    scores = {name: rng.normal(size=60) + wrong for name in ("a", "b")}
    (single,) = compare_measures({name: items_of(s, wrong) for name, s in scores.items()})
    (fourfold,) = compare_measures(
        {
            name: items_of(np.tile(s, 4), np.tile(wrong, 4), clusters=np.tile(np.arange(60), 4))
            for name, s in scores.items()
        }
    )
    assert (fourfold.difference, fourfold.se, fourfold.p_value) == pytest.approx(
        (single.difference, single.se, single.p_value)
    )
    assert (single.method, fourfold.method) == (
        "DeLong, paired",
        "DeLong, by cluster (Obuchowski), paired",
    )


def test_other_items_make_independent_aurocs() -> None:
    first, second = noisy(100, 1), noisy(300, 2)
    found = compare_apart(("squad", first), ("trivia_qa", second))
    variances = [placements(items.uncertainty, items.is_wrong).variance for items in (first, second)]
    assert found.se == pytest.approx(sum(variances) ** 0.5)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(found.difference) / found.se))
    bad = compare_apart(("squad", first), ("tiny", items_of([1, 2], [True, False])))
    assert "at least 5 of each" in bad.undefined_because


def test_a_family_is_adjusted_together() -> None:
    tests = [compare_apart(("a", noisy(80, n)), ("b", noisy(80, n + 50))) for n in range(4)]
    q = [test.q_value for test in adjusted(tests)]
    assert q == pytest.approx(stats.false_discovery_control([test.p_value for test in tests]).tolist())
