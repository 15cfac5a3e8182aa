"""Validity of directions: held-out figures by their definitions, and nulls that are null."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from overnight.errors import UndefinedMetricError
from overnight.stats.rng import stream
from overnight.traits.folds import draw_folds, permute_labels
from overnight.traits.held_out import tally
from overnight.traits.labelled import Labelled
from overnight.traits.methods import Method
from overnight.traits.strength import choose, cohens_d, compare
from overnight.traits.validity import ValiditySettings, validate_trait
from overnight.traits.validity_record import TraitValidity, write_validity

POINTS = ("0.residual_out", "1.residual_out", "2.residual_out")


def states(
    sizes: tuple[float, ...], n: int = 15, d: int = 12, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs whose sides differ by ``sizes[p]`` standard deviations along one dimension at point p."""
    rng = np.random.default_rng(seed)
    scenario = rng.standard_normal((n, len(sizes), d))
    positive, negative = (scenario + rng.standard_normal((n, len(sizes), d)) for _ in range(2))
    positive[..., 0] += np.array(sizes)
    return positive, negative


def folds_of(
    trait: str, positive: np.ndarray, negative: np.ndarray, settings: ValiditySettings, *, is_paired: bool
):
    rows = Labelled.of(positive[:, 0], negative[:, 0], is_paired=is_paired)
    return draw_folds(rows, settings.n_folds, stream(settings.seed, "trait validity", trait, "folds"))


@pytest.mark.parametrize("method", [Method.MEAN_DIFFERENCE, Method.PROBE, Method.PCA])
@pytest.mark.parametrize(("is_paired", "n_dropped"), [(True, 0), (False, 4)])
def test_held_out_figures_are_those_of_their_definition(
    method: Method, is_paired: bool, n_dropped: int
) -> None:
    # Written down fold by fold: a direction of the other folds, its midpoint, and the fold's own projections.
    from overnight.traits.methods import direction

    positive, negative = states((2.0,))
    negative = negative[n_dropped:]
    settings = ValiditySettings(n_permutations=0, n_random=0)
    found = validate_trait(
        "t", POINTS[:1], positive, negative, is_paired=is_paired, method=method, settings=settings
    )
    folds = folds_of("t", positive, negative, settings, is_paired=is_paired)
    of_p, of_n = folds[: len(positive)], folds[len(positive) :]
    high, low, won, compared = [], [], 0.0, 0
    for k in range(5):
        p, n = positive[:, 0], negative[:, 0]
        way = direction(method, p[of_p != k], n[of_n != k], is_paired=is_paired).astype(np.float64)
        middle = ((p[of_p != k] @ way).mean() + (n[of_n != k] @ way).mean()) / 2
        above, below = p[of_p == k] @ way - middle, n[of_n == k] @ way - middle
        high, low = [*high, *above], [*low, *below]
        won += roc_auc_score([1] * len(above) + [0] * len(below), [*above, *below]) * len(above) * len(below)
        compared += len(above) * len(below)
    pooled = ((len(high) - 1) * np.var(high, ddof=1) + (len(low) - 1) * np.var(low, ddof=1)) / (
        len(high) + len(low) - 2
    )
    expected = (np.sum(np.array(high) > 0) + np.sum(np.array(low) < 0)) / (len(high) + len(low))
    held_out = found.points[0].held_out
    assert held_out.accuracy == pytest.approx(expected)
    assert held_out.cohens_d == pytest.approx((np.mean(high) - np.mean(low)) / np.sqrt(pooled), abs=1e-5)
    assert held_out.auroc == pytest.approx(won / compared)
    # With one point there is nothing to choose, so the nested figure is the same.
    assert found.nested.held_out.accuracy == held_out.accuracy
    assert found.nested.held_out.auroc == held_out.auroc


def test_the_fast_way_agrees_with_one_direction_after_the_other() -> None:
    positive, negative = states((1.0,))
    rows = Labelled.of(positive[:, 0] + 100, negative[:, 0] + 100, is_paired=True)
    folds = draw_folds(rows, 4, np.random.default_rng(0))
    labels = permute_labels(rows, folds, 7, np.random.default_rng(1))
    fast = tally(rows, folds, labels, Method.MEAN_DIFFERENCE, seed=0)
    from overnight.traits import held_out

    every = [(k, j) for k in range(4) for j in range(k, 4)]
    slow = held_out._projections(rows, folds, labels.T, every, Method.MEAN_DIFFERENCE, 0)
    quick = held_out._mean_difference_projections(rows.states, folds, labels.T, every)
    for (k, j, one), (k2, j2, other) in zip(slow, quick, strict=True):
        assert (k, j) == (k2, j2)
        assert one == pytest.approx(other, abs=1e-9)
    assert np.isfinite(fast.n_correct).all()


def test_a_pair_is_held_out_together() -> None:
    positive, negative = states((0.0,), n=17)
    rows = Labelled.of(positive[:, 0], negative[:, 0], is_paired=True)
    folds = draw_folds(rows, 5, np.random.default_rng(0))
    assert np.array_equal(folds[:17], folds[17:])
    assert sorted(np.bincount(folds[:17])) == [3, 3, 3, 4, 4]


def test_a_scenario_that_is_recognised_is_no_trait() -> None:
    # Every pair has a place of its own, far from all others, and the sides differ in nothing. A direction that knew
    # one text of a pair would place the other; held out by pair, nobody does better than chance.
    rng = np.random.default_rng(4)
    scenario = 50 * rng.standard_normal((30, 1, 40))
    positive, negative = (
        scenario + rng.standard_normal((30, 1, 40)),
        scenario + rng.standard_normal((30, 1, 40)),
    )
    found = validate_trait("t", POINTS[:1], positive, negative, is_paired=True)
    assert found.points[0].held_out.accuracy == pytest.approx(0.5, abs=0.2)
    assert found.points[0].permuted.accuracy.p > 0.05


def test_permuted_labels_stay_within_pairs_and_within_folds() -> None:
    positive, negative = states((0.0,))
    rng = np.random.default_rng(0)
    paired = Labelled.of(positive[:, 0], negative[:, 0], is_paired=True)
    labels = permute_labels(paired, draw_folds(paired, 5, rng), 50, rng)
    assert np.array_equal(labels[:, :15], ~labels[:, 15:])
    assert 0.3 < labels[:, :15].mean() < 0.7
    single = Labelled.of(positive[:, 0], negative[:11, 0], is_paired=False)
    folds = draw_folds(single, 5, rng)
    drawn = permute_labels(single, folds, 50, rng)
    for fold in range(5):
        inside = folds == fold
        assert set(drawn[:, inside].sum(axis=1)) == {single.is_positive[inside].sum()}
    assert len(np.unique(drawn, axis=0)) == 50


def test_a_trait_that_is_there_beats_its_nulls_and_one_that_is_not_does_not() -> None:
    positive, negative = states((0.0, 3.0, 0.0), n=30)
    found = validate_trait("t", POINTS, positive, negative, is_paired=True)
    assert found.chosen == "1.residual_out"
    assert set(found.nested.chosen_by_fold) == {"1.residual_out"}
    there, absent = found.at("1.residual_out"), found.at("0.residual_out")
    for null in (there.permuted, there.random):
        assert null.accuracy.p == pytest.approx(1 / 101)
        assert null.auroc.p == pytest.approx(1 / 101)
    assert there.permuted.cohens_d.p_of_any_point == pytest.approx(1 / 101)
    assert absent.permuted.accuracy.p > 0.05
    assert found.nested.permuted.accuracy.p == pytest.approx(1 / 101)


@pytest.mark.slow
def test_p_values_of_nothing_are_uniform() -> None:
    # 60 traits that are none: a valid p is at most .1 about 6 times in 60, that of the whole procedure too.
    settings = ValiditySettings(n_permutations=39, n_random=0)
    alone, nested, best = [], [], []
    for seed in range(60):
        positive, negative = states((0.0,) * 6, n=9, d=5, seed=seed)
        points = [f"{layer}.residual_out" for layer in range(6)]
        found = validate_trait(f"t{seed}", points, positive, negative, is_paired=True, settings=settings)
        alone.append(found.points[0].permuted.auroc.p)
        nested.append(found.nested.permuted.auroc.p)
        best.append(found.at(found.chosen).held_out.accuracy)
    for p in (alone, nested):
        assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.1)
        assert np.mean(p) == pytest.approx(0.5, abs=0.12)
    # The best of six points looks good by being chosen; that is why it is not what is reported.
    assert np.mean(best) > 0.55


def test_the_choice_of_a_point_sees_nothing_of_the_fold_that_it_is_judged_by() -> None:
    # Changing one fold's texts may change what is chosen for all folds but this one.
    positive, negative = states((0.5, 0.6, 0.4), n=20)
    settings = ValiditySettings(n_permutations=0, n_random=0)
    before = validate_trait("t", POINTS, positive, negative, is_paired=True, settings=settings)
    folds = folds_of("t", positive, negative, settings, is_paired=True)[:20]
    changed = positive.copy()
    changed[folds == 2] = -40
    after = validate_trait("t", POINTS, changed, negative, is_paired=True, settings=settings)
    assert before.nested.chosen_by_fold[2] == after.nested.chosen_by_fold[2]
    assert before.points[0].held_out != after.points[0].held_out


def test_a_point_without_a_difference_is_undefined_and_never_chosen() -> None:
    positive, negative = states((1.0, 1.0, 1.0))
    positive[:, 0] = negative[:, 0] = 7.0
    found = validate_trait("t", POINTS, positive, negative, is_paired=True)
    empty = found.points[0]
    assert (empty.held_out.accuracy, empty.held_out.cohens_d, empty.held_out.auroc) == (None, None, None)
    assert empty.permuted.accuracy.p is None
    assert "do not differ" in empty.undefined_because
    assert found.chosen != POINTS[0]
    with pytest.raises(UndefinedMetricError, match="at no point"):
        validate_trait("t", POINTS[:1], positive[:, :1], negative[:, :1], is_paired=True)


def test_slow_methods_draw_their_null_at_the_chosen_point_unless_told_otherwise() -> None:
    positive, negative = states((0.0, 4.0), n=6, d=4)
    run = lambda **change: validate_trait(  # noqa: E731
        "t", POINTS[:2], positive, negative, is_paired=True, method=Method.PCA,
        settings=ValiditySettings(n_permutations=9, n_random=9, **change),
    )  # fmt: skip
    found = run()
    assert [point.permuted is None for point in found.points] == [True, False]
    assert found.points[1].permuted.accuracy.p_of_any_point is None
    assert found.nested.permuted is None
    full = run(nulls_everywhere=True)
    assert all(point.permuted is not None for point in full.points)
    assert full.nested.permuted is not None
    assert full.points[1].permuted.accuracy.p == found.points[1].permuted.accuracy.p


def test_the_same_seed_is_the_same_result_and_the_unit_of_the_states_does_not_matter() -> None:
    positive, negative = states((0.8, 0.3))
    one = validate_trait("t", POINTS[:2], positive, negative, is_paired=True)
    assert one == validate_trait("t", POINTS[:2], positive, negative, is_paired=True)
    scaled = validate_trait("t", POINTS[:2], 64 * positive, 64 * negative, is_paired=True)
    assert scaled.chosen == one.chosen
    assert [p.held_out.auroc for p in scaled.points] == [p.held_out.auroc for p in one.points]


def test_too_few_texts_are_undefined_and_wrong_shapes_are_errors() -> None:
    positive, negative = states((1.0,), n=2)
    with pytest.raises(UndefinedMetricError, match="2 positive and 2 negative"):
        validate_trait("t", POINTS[:1], positive, negative, is_paired=True)
    with pytest.raises(ValueError, match="2 points, 1 states"):
        validate_trait("t", POINTS[:2], positive, negative, is_paired=True)
    with pytest.raises(ValueError, match=r"\[n, P, d\]"):
        validate_trait("t", POINTS[:1], positive[:, 0], negative[:, 0], is_paired=True)


def test_cohens_d_by_hand() -> None:
    # Groups (1, 3) and (0, 0, 3): means 2 and 1, sums of squares about them 2 and 6, variance 8 / 3 over 3 freedoms.
    moments = np.array([[4.0], [10.0], [3.0], [9.0]])
    d, spread = cohens_d(moments, 2, 3)
    assert spread[0] ** 2 == pytest.approx(8 / 3)
    assert d[0] == pytest.approx(1 / np.sqrt(8 / 3))
    constant = np.array([[4.0], [8.0], [0.0], [0.0]])  # (2, 2) and (0, 0) do not vary
    assert np.isnan(cohens_d(constant, 2, 2)[0][0])


def test_of_equal_accuracies_the_larger_effect_is_chosen() -> None:
    accuracy = np.array([[1.0, 0.5, np.nan], [1.0, 0.7, np.nan], [0.9, 0.7, np.nan]])
    d = np.array([[2.0, 9.0, 1.0], [3.0, np.nan, 1.0], [9.0, np.nan, 1.0]])
    assert choose(accuracy, d).tolist() == [1, 1, -1]


def test_a_p_value_counts_the_observed_ties_and_what_is_undefined() -> None:
    # Of .5, .6, .7, NaN: .6 (a tie), .7 and the undefined one are at least .6, so p = (1 + 3) / (1 + 4).
    null = compare(0.6, np.array([0.5, 0.6, 0.7, np.nan]))
    assert null.p == pytest.approx(4 / 5)
    assert null.mean == pytest.approx(0.6)
    assert compare(np.nan, np.array([0.5])).p is None


def test_the_record_is_strict_json(tmp_path: Path) -> None:
    positive, negative = states((1.0, 1.0))
    positive[:, 0] = negative[:, 0] = 7.0
    found: TraitValidity = validate_trait("calm", POINTS[:2], positive, negative, is_paired=True)
    write_validity(tmp_path / "validity.json", [found])
    read = json.loads((tmp_path / "validity.json").read_text(), parse_constant=pytest.fail)
    trait = read["traits"]["calm"]["mean_difference"]
    assert (trait["chosen"], trait["chosen_layer"], trait["chosen_component"]) == (
        found.chosen,
        1,
        "residual_out",
    )
    assert trait["points"][0]["held_out"]["accuracy"] is None
    with pytest.raises(ValueError, match="twice"):
        write_validity(tmp_path / "validity.json", [found, found])
