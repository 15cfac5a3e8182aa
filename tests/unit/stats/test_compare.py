import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from overnight.records import ItemType
from overnight.stats.cochran import CochranQ
from overnight.stats.compare import METRICS, Comparison, adjust, compare_arms, metric_margin
from overnight.stats.mcnemar import mcnemar
from overnight.stats.multiplicity import benjamini_hochberg, holm_bonferroni
from overnight.stats.paired import Margin

CONTROL = {f"q{i}": float(i % 3 == 0) for i in range(60)}
TREATMENT = {f"q{i}": float(i % 2 == 0) for i in range(60)}

SETTINGS: Any = {"metric": "em", "type": ItemType.OPEN, "temperature": 0.0, "seed": 1, "n_resamples": 400}


def compare(
    control: Mapping[str, float | None] = CONTROL,
    treatment: Mapping[str, float | None] = TREATMENT,
    metric: str = "em",
    item_type: ItemType = ItemType.OPEN,
    temperature: float = 0.0,
) -> Comparison:
    return compare_arms(
        control, treatment, metric=metric, type=item_type, temperature=temperature, seed=1, n_resamples=400
    )


def test_a_comparison_by_hand() -> None:
    # Of 60: 20 are right in control (i % 3 == 0), 30 in treatment (even), 10 in both.
    result = compare()
    assert (result.n_pairs, result.n_unpaired, result.pairing_rate) == (60, 0, 1.0)
    assert (result.mean_control, result.mean_treatment) == pytest.approx((20 / 60, 30 / 60))
    assert result.mean_difference == pytest.approx(10 / 60)
    assert result.mcnemar == mcnemar(20, 10)
    assert result.p_value == mcnemar(20, 10).p_exact
    assert result.ci_low is not None
    assert result.ci_high is not None
    assert result.ci_low < 10 / 60 < result.ci_high


def test_each_arm_has_an_interval_of_its_own_mean() -> None:
    # 600 items right or wrong: the standard error of a share is sqrt(p (1 - p) / n), 1.96 of them either way.
    control = {f"q{i}": float(i % 3 == 0) for i in range(600)}
    treatment = {f"q{i}": float(i % 2 == 0) for i in range(600)}
    result = compare(control, treatment)
    for share, low, high in (
        (1 / 3, result.control_low, result.control_high),
        (1 / 2, result.treatment_low, result.treatment_high),
    ):
        half = 1.96 * (share * (1 - share) / 600) ** 0.5
        assert (low, high) == pytest.approx((share - half, share + half), abs=0.008)


@pytest.mark.parametrize("item_type", list(ItemType))
def test_each_metric_has_the_tests_that_belong_to_it(item_type: ItemType) -> None:
    for metric in METRICS[item_type]:
        result = compare(metric=metric, item_type=item_type)
        assert (result.mcnemar is not None) == (metric == "em")
        assert result.p_value == (result.mcnemar.p_exact if result.mcnemar else result.permutation_p)
        assert None not in (result.permutation_p, result.ci_low, result.ci_bca_low, result.hodges_lehmann)


def test_a_metric_of_open_items_is_not_tested_on_closed_ones() -> None:
    with pytest.raises(ValueError, match="false_answer_rate"):
        compare(metric="false_answer_rate", item_type=ItemType.CLOSED)


def test_swapping_the_arms_turns_the_sign() -> None:
    there, back = compare(metric="f1"), compare(TREATMENT, CONTROL, metric="f1")
    assert there.mean_difference == pytest.approx(-back.mean_difference)  # type: ignore[operator]
    assert there.permutation_p == back.permutation_p


def test_no_pairs_give_no_numbers_and_a_reason() -> None:
    result = compare({"a": 1.0, "b": None}, {"c": 1.0, "b": None})
    assert (result.n_pairs, result.n_unpaired, result.n_undefined, result.pairing_rate) == (0, 2, 1, 0.0)
    assert result.mean_difference is None
    assert result.p_value is None
    assert result.undefined_because is not None
    assert "2 have one row only" in result.undefined_because


def test_one_pair_has_means_but_no_interval() -> None:
    result = compare({"a": 0.0}, {"a": 1.0})
    assert (result.mean_difference, result.ci_low, result.ci_high) == (1.0, None, None)
    assert result.undefined_because == "one pair has no interval"


def test_an_item_that_one_arm_leaves_undefined_is_counted_and_left_out() -> None:
    result = compare({**CONTROL, "q0": None}, metric="unsupported_rate")
    assert (result.n_pairs, result.n_half_defined, result.n_unpaired) == (59, 1, 0)


def test_a_comparison_does_not_move_when_others_are_added() -> None:
    # One generator shared by all metrics did that in the original.
    alone = compare(metric="f1", temperature=0.25)
    compare(metric="em")
    assert compare(metric="f1", temperature=0.25) == alone
    assert compare(metric="f1", temperature=0.2).ci_low is not None


def test_the_order_of_the_rows_does_not_matter() -> None:
    backwards = dict(reversed(CONTROL.items()))
    assert compare(backwards, metric="f1") == compare(metric="f1")


def test_q_values_run_over_both_kinds_of_test_and_leave_the_rest_alone() -> None:
    comparisons = [
        compare(metric=metric, item_type=item_type, temperature=temperature)
        for temperature in (0.0, 0.7)
        for item_type in ItemType
        for metric in METRICS[item_type]
    ]
    adjusted = adjust(comparisons)
    assert [c.q_value for c in comparisons] == [None] * len(comparisons)
    p_values = [c.mcnemar.p_exact if c.mcnemar else c.permutation_p for c in comparisons]
    assert len(p_values) == 2 * sum(len(metrics) for metrics in METRICS.values())  # two temperatures
    assert [c.q_value for c in adjusted] == benjamini_hochberg(p_values)
    assert [c.p_holm for c in adjusted] == holm_bonferroni(p_values)


def test_other_tests_of_the_run_count_in_the_adjustment() -> None:
    others = [CochranQ(n_items=9, n_systems=3, p_value=p) for p in (1.0, None, 1.0, 1.0)]
    alone, among_four = adjust([compare()])[0], adjust([compare(), *others])[0]
    assert alone.q_value == compare().p_value
    assert among_four.q_value == pytest.approx(4 * compare().p_value)  # type: ignore[operator]


def test_a_declared_margin_knows_which_way_is_worse() -> None:
    margins = {"em": 0.01, "false_answer_rate": 0.02, "abstain_rate": 0.1}
    assert metric_margin("em", margins, 0.05) == Margin(margin=0.01, alpha=0.05, is_higher_better=True)
    assert metric_margin("false_answer_rate", margins, 0.1) == Margin(
        margin=0.02, alpha=0.1, is_higher_better=False
    )
    # An abstention is good on one item and bad on another.
    assert metric_margin("abstain_rate", margins, 0.05).is_higher_better is None  # type: ignore[union-attr]
    assert metric_margin("f1", margins, 0.05) is None


def test_clusters_reach_the_interval_the_sign_flips_and_the_equivalence_test() -> None:
    clusters = {f"q{i}": f"passage {i // 6}" for i in range(60)}
    plain = compare_arms(CONTROL, TREATMENT, **SETTINGS, margin=Margin(margin=0.3))
    clustered = compare_arms(CONTROL, TREATMENT, **SETTINGS, margin=Margin(margin=0.3), clusters=clusters)
    assert (plain.n_clusters, clustered.n_clusters) == (60, 10)
    assert clustered.ci_method == "percentile bootstrap of 10 clusters"
    assert clustered.ci_low != plain.ci_low
    # Every passage holds the same six answers, so its difference is that of every other.
    assert clustered.tost is not None
    assert "sd 0" in str(clustered.tost.undefined_because)
    assert clustered.mcnemar == plain.mcnemar


def test_every_comparison_is_strict_json() -> None:
    rescued = dict.fromkeys(CONTROL, 1.0)
    for result in adjust(
        [
            compare({}, {}),
            compare({"a": 0.0}, {"a": 1.0}),
            compare(dict.fromkeys(CONTROL, 0.0), rescued),
            compare(),
        ]
    ):
        assert json.loads(json.dumps(asdict(result), allow_nan=False))["metric"] == "em"


def test_ten_thousand_pairs_are_compared_in_seconds() -> None:
    # The original looped in Python over n * B.
    rng = np.random.default_rng(1)
    control = {f"q{i}": float(v) for i, v in enumerate(rng.random(10_000).round(2))}
    treatment = {f"q{i}": float(v) for i, v in enumerate(rng.random(10_000).round(2))}
    started = time.process_time()
    result = compare_arms(control, treatment, metric="f1", type=ItemType.OPEN, temperature=0.0, seed=1)
    assert result.n_pairs == 10_000
    assert time.process_time() - started < 5.0  # generous, for a busy machine
