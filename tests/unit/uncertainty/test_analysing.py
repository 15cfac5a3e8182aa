from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import auc, average_precision_score, brier_score_loss, roc_auc_score

from overnight.stats.degeneracy import Degeneracy, Limits
from overnight.stats.model_cells import Factor
from overnight.uncertainty.analysing import analyse
from overnight.uncertainty.analysis import AnalysisSettings, MeasuredTrial
from tests.unit.uncertainty.trials import made_up, made_up_run, model, table, trial

FAST = AnalysisSettings(n_resamples=200)


@pytest.fixture(scope="module")
def analysis():
    return analyse(made_up_run(), FAST, run_id="r1", experiment="made up")


def columns(measured: MeasuredTrial, measure: str, label: str):
    read = {
        "u": [cell.value for cell in measured.measures.column(measure).cells],
        "y": [cell.value for cell in measured.labels.column(label).cells],
    }
    return np.array(read["u"]), np.array(read["y"]) == 0


def test_every_area_is_that_of_scikit_learn_by_every_label(analysis) -> None:
    n_sound = 0
    for measured, result in zip(made_up_run(), analysis.trials, strict=True):
        for label in result.labels:
            for one in label.measures:
                uncertainty, is_wrong = columns(measured, one.measure, label.label)
                ranking = one.discrimination.ranking
                if ranking is None:
                    continue
                n_sound += 1
                assert ranking.auroc == pytest.approx(roc_auc_score(is_wrong, uncertainty), abs=1e-12)
                assert ranking.auprc == pytest.approx(average_precision_score(is_wrong, uncertainty))
    assert n_sound == 15 * 5  # the last trial has no wrong answer by one of its two labels


def test_the_curves_have_the_areas_they_stand_for(analysis) -> None:
    for result in analysis.trials:
        label = result.label("f1")
        for one in label.measures:
            if one.roc is None:
                continue
            assert auc(one.roc.x, one.roc.y) == pytest.approx(one.auroc, abs=1e-3)
            # All items answered: the risk is that of answering everything.
            assert one.risk_coverage.x[-1] == 1.0
            assert one.risk_coverage.y[-1] == pytest.approx(1 - label.accuracy)


def test_e2_all_sound_measures_of_a_trial_are_judged_on_the_same_items() -> None:
    # 3 of 80 items have no average NLL, and 3 others no perplexity: 74 have everything.
    whole = made_up(model("m"), "d", seed=1)
    average, perplexity = (
        [cell.value for cell in whole.measures.column(name).cells] for name in ("average_nll", "perplexity")
    )
    cut = made_up(
        model("m"), "d", seed=1, average_nll=[None] * 3 + average[3:], perplexity=perplexity[:-3] + [None] * 3
    )
    label = analyse([cut], FAST).trials[0].label("f1")
    assert label.n_common == 74
    assert {one.discrimination.n_items for one in label.measures} == {74}
    assert {one.measure: one.discrimination.n_without_score for one in label.measures} == {
        "g_nll": 0,
        "average_nll": 3,
        "perplexity": 3,
        "mean_token_probability": 0,
        "n_tokens": 0,
    }
    uncertainty, is_wrong = columns(whole, "g_nll", "f1")
    assert label.measure("g_nll").auroc == pytest.approx(roc_auc_score(is_wrong[3:-3], uncertainty[3:-3]))


def test_a_measure_that_most_items_lack_costs_the_others_no_item() -> None:
    # The seed compared RW-G-NLL over a few items with G-NLL over all of them.
    label = (
        analyse([made_up(model("m"), "d", seed=1, rw_g_nll=[None] * 79 + [1.0])], FAST).trials[0].label("f1")
    )
    assert label.measure("rw_g_nll").discrimination.degeneracy == Degeneracy.MISSING_SCORES
    assert label.measure("rw_g_nll").roc is None
    assert label.measure("g_nll").discrimination.n_items == 80


def test_one_class_is_named_and_is_in_no_test_mean_or_curve(analysis) -> None:
    always_right = analysis.trials[-1]
    label = always_right.label("f1")
    assert (label.accuracy, label.n_wrong) == (1.0, 0)
    for one in label.measures:
        assert one.discrimination.degeneracy == Degeneracy.ONE_CLASS
        assert one.roc is None
        assert one.risk_coverage is None
        assert one.auroc is None
    assert all(
        test.p_value is None and "without both" in test.undefined_because for test in label.differences
    )
    (birch,) = [mean for mean in analysis.means_of(Factor.FAMILY) if mean.level == "Birch"]
    assert (birch.n_cells, birch.n_degenerate) == (1, 1)
    for one in analysis.models:
        if "large-b" in (one.difference.first, one.difference.second) and one.dataset == "trivia_qa":
            assert one.difference.p_value is None
    found = {(one.slug, one.kind) for one in analysis.degenerate() if one.label == "f1"}
    assert found == {(always_right.slug, Degeneracy.ONE_CLASS)}


@pytest.mark.parametrize("n", [3, 1])
def test_a_handful_of_items_is_named_and_nothing_is_computed(n) -> None:
    tiny = trial(model("m"), "d", {"g_nll": [1.0, 2.0, 3.0][:n]}, {"f1": [1, 0, 1][:n]})
    result = analyse([tiny], FAST)
    assert {one.kind for one in result.degenerate()} <= {Degeneracy.FEW_OF_A_CLASS, Degeneracy.ONE_CLASS}
    assert [one.mean for one in result.means if one.group == "measure"] == [None]


def test_a_constant_score_and_ties_are_named() -> None:
    result = analyse(
        [made_up(model("m"), "d", seed=2, g_nll=[1.0] * 80, average_nll=[0.0] * 79 + [1.0])], FAST
    )
    kinds = {one.measure: one.kind for one in result.degenerate() if one.label == "f1"}
    assert kinds == {"g_nll": Degeneracy.CONSTANT_SCORE, "average_nll": Degeneracy.TIED_SCORES}


def test_p_values_are_adjusted_once_over_each_family(analysis) -> None:
    tests = [test for result in analysis.trials for label in result.labels for test in label.differences]
    families = {
        "measures": [(test.p_value, test.q_value) for test in tests],
        "models": [(one.difference.p_value, one.difference.q_value) for one in analysis.models],
        "correlations": [
            (one.correlation.p_value, one.adjusted.q_value)
            for result in analysis.trials
            for one in result.correlations
        ],
        "length": [
            (one.length.partial.p_value if one.length.partial else None, one.length_p.q_value)
            for result in analysis.trials
            for label in result.labels
            for one in label.measures
        ],
    }
    for name, family in families.items():
        defined = [(p, q) for p, q in family if p is not None]
        assert len(defined) > 8, name
        assert all(q is None for p, q in family if p is None), name
        expected = stats.false_discovery_control([p for p, _ in defined])
        assert [q for _, q in defined] == pytest.approx(expected.tolist()), name


def test_average_nll_and_perplexity_are_one_ranking(analysis) -> None:
    for result in analysis.trials:
        one = next(
            one.correlation
            for one in result.correlations
            if (one.correlation.first, one.correlation.second) == ("average_nll", "perplexity")
        )
        assert one.is_same_ranking


def test_a_group_mean_is_the_mean_of_its_cells_inside_its_interval(analysis) -> None:
    (alder,) = [mean for mean in analysis.means_of(Factor.FAMILY) if mean.level == "Alder"]
    areas = [
        result.result("g_nll", "f1").auroc for result in analysis.trials if result.model.family == "Alder"
    ]
    assert sorted(alder.aurocs) == pytest.approx(sorted(areas))
    assert alder.mean == pytest.approx(np.mean(areas))
    assert alder.low < alder.mean < alder.high
    # Six cells together are better known than one of them.
    one = analysis.trials[0].result("g_nll", "f1").discrimination.ranking.bootstrap
    assert alder.high - alder.low < one.high - one.low


def test_a_probability_is_judged_as_scikit_learn_judges_it(analysis) -> None:
    measured, result = made_up_run()[0], analysis.trials[0].label("f1")
    found = {one.measure: one.reliability for one in result.calibrations}
    for measure, probability in (
        ("g_nll", lambda u: np.exp(-u)),
        ("mean_token_probability", lambda u: 1 - u),
    ):
        uncertainty, is_wrong = columns(measured, measure, "f1")
        assert found[measure].brier == pytest.approx(brier_score_loss(~is_wrong, probability(uncertainty)))


def test_the_matched_contrasts_find_the_twin_and_the_larger_sister(analysis) -> None:
    summaries = {
        (one.factor, one.levels): one.n_pairs
        for one in analysis.contrasts.summaries
        if (one.measure, one.label) == ("g_nll", "f1")
    }
    assert summaries[Factor.QUANTIZATION, ("none", "int8")] == 2
    assert summaries[Factor.SIZE, ("smaller", "larger")] == 2
    assert {one.factor for one in analysis.contrasts.unmatched} == {Factor.INSTRUCT}


def test_surprising_answers_come_with_their_texts(analysis) -> None:
    first = analysis.trials[0]
    assert [row.example.uncertainty for row in first.most_certain_wrong] == sorted(
        row.example.uncertainty for row in first.most_certain_wrong
    )
    assert len(first.most_certain_wrong) == len(first.least_certain_right) == FAST.n_examples
    assert first.most_certain_wrong[0].text.question == f"Q {first.most_certain_wrong[0].example.key}?"


def test_the_order_of_rows_moves_no_number() -> None:
    run = made_up_run()

    def turned(one: MeasuredTrial) -> MeasuredTrial:
        def flipped(columns):
            return table(
                columns.item_keys[::-1], {c.name: [v.value for v in c.cells[::-1]] for c in columns.columns}
            )

        return MeasuredTrial(
            slug=one.slug,
            model=one.model,
            dataset=one.dataset,
            measures=flipped(one.measures),
            labels=flipped(one.labels),
            lengths=one.lengths,
        )

    straight, other = analyse(run[:2], FAST), analyse([turned(one) for one in run[:2]], FAST)
    assert straight.contrasts == other.contrasts
    assert straight.means == other.means
    assert [one.labels for one in straight.trials] == [one.labels for one in other.trials]


def test_items_of_one_passage_are_judged_together_in_everything_that_has_an_interval() -> None:
    # Two models on the same 80 items about 20 passages.
    def run(size: int | None) -> list[MeasuredTrial]:
        trials = [made_up(model(name), "d", seed=n, signal=1.5) for n, name in enumerate("ab")]
        if size is None:
            return trials
        return [
            replace(one, clusters={key: f"p{int(key[-3:]) // size}" for key in one.measures.item_keys})
            for one in trials
        ]

    plain, alone, shared = (analyse(run_of, FAST) for run_of in (run(None), run(1), run(4)))
    assert plain.trials[0].labels == alone.trials[0].labels
    label = shared.trials[0].label("f1")
    assert (label.n_common, label.n_passages) == (80, 20)
    assert plain.trials[0].label("f1").n_passages is None
    found = label.measure("g_nll").discrimination
    assert found.n_clusters == 20
    assert found.ranking.auroc == plain.trials[0].result("g_nll", "f1").auroc
    assert found.ranking.delong.method.startswith("DeLong, by cluster")
    assert {test.method for test in label.differences} == {"DeLong, by cluster (Obuchowski), paired"}
    assert shared.models[0].difference.method.endswith("; whole clusters drawn")
    assert [one.mean for one in shared.means] == [one.mean for one in plain.means]
    assert [one.low for one in shared.means] != [one.low for one in plain.means]


def test_what_is_shown_is_what_the_run_has() -> None:
    only = trial(model("m"), "d", {"average_nll": [1.0, 2.0]}, {"em": [1, 0]})
    result = analyse([only], AnalysisSettings(n_resamples=50, limits=Limits(fewest_of_a_class=2)))
    assert (result.measure, result.label) == ("average_nll", "em")


def test_a_cell_of_the_grid_is_one_trial() -> None:
    one = made_up(model("m"), "d", seed=1)
    with pytest.raises(ValueError, match="2 trials are of m on d"):
        analyse([one, one], FAST)
    with pytest.raises(ValueError, match="no trials"):
        analyse([], FAST)
    with pytest.raises(ValueError, match="different items"):
        trial_of_two_sets()


def trial_of_two_sets() -> MeasuredTrial:
    return MeasuredTrial(
        slug="s",
        model=model("m"),
        dataset="d",
        measures=table(["d|1"], {"g_nll": [1.0]}),
        labels=table(["d|2"], {"f1": [1]}),
        lengths={},
    )
