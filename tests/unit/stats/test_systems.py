import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import cochrans_q, mcnemar
from statsmodels.stats.multitest import multipletests

from overnight.errors import UsageError
from overnight.stats.systems import SystemsComparison, compare_systems

BINARY = {
    "a": {f"q{i}": float(i % 2) for i in range(30)},
    "b": {f"q{i}": float(i % 3 == 0) for i in range(30)},
    "c": {f"q{i}": float(i % 5 != 0) for i in range(30)},
}


def compare(scores: Any = BINARY, metric: str = "em", **settings: Any) -> SystemsComparison:
    return compare_systems(scores, metric=metric, seed=1, **{"n_resamples": 100, **settings})


@pytest.fixture(scope="module")
def bleu_acc(shared_data: Path) -> dict[str, dict[str, float]]:
    """Return what fifteen published models scored on the same 817 items, by model, by item."""
    with (shared_data / "lm_eval_samples" / "per_item.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    systems = [column.removesuffix(":bleu_acc") for column in rows[0] if column.endswith(":bleu_acc")]
    return {system: {row["doc_id"]: float(row[f"{system}:bleu_acc"]) for row in rows} for system in systems}


def test_all_pairs_of_published_models_agree_with_statsmodels(bleu_acc: dict[str, dict[str, float]]) -> None:
    result = compare(bleu_acc, "bleu_acc", n_resamples=20)
    assert len(result.pairs) == 15 * 14 / 2
    for each in result.pairs:
        first, second = (np.array(list(bleu_acc[name].values())) for name in (each.first, each.second))
        table = [[0, np.sum(second > first)], [np.sum(first > second), 0]]
        assert each.p_value == pytest.approx(mcnemar(table, exact=True).pvalue, rel=1e-9)
    p_values = [each.p_value for each in result.pairs]
    for field, method in (("q_value", "fdr_bh"), ("q_value_by", "fdr_by"), ("p_holm", "holm")):
        assert [getattr(each, field) for each in result.pairs] == pytest.approx(
            multipletests(p_values, method=method)[1]
        )
    table = np.array([list(items.values()) for items in bleu_acc.values()]).T
    assert result.cochran.q == pytest.approx(cochrans_q(table).statistic)
    assert result.cochran.p_value == pytest.approx(cochrans_q(table).pvalue)


def test_the_means_are_the_published_ones(bleu_acc: dict[str, dict[str, float]], shared_data: Path) -> None:
    published = json.loads((shared_data / "lm_eval_samples" / "published_results.json").read_text())
    result = compare(bleu_acc, "bleu_acc", n_resamples=2000)
    for system in result.systems:
        theirs = published[system.system]
        assert system.mean == pytest.approx(theirs["bleu_acc,none"], abs=1e-12)
        # A normal interval from the published standard error; the bootstrap's bounds vary a little.
        half_width = 1.96 * theirs["bleu_acc_stderr,none"]
        assert system.ci_low == pytest.approx(system.mean - half_width, abs=0.15 * half_width)
        assert system.ci_high == pytest.approx(system.mean + half_width, abs=0.15 * half_width)


def test_systems_over_different_items_are_refused_by_name() -> None:
    scores = {**BINARY, "d": {"q0": 1.0, "q1": 1.0, "x1": 0.0}}
    with pytest.raises(
        UsageError, match=r"d and a .* 28 \(q10, q11, q12, \.\.\.\) only in a, 1 \(x1\) only in d"
    ):
        compare(scores)


@pytest.mark.parametrize("scores", [{}, {"a": {"q": 1.0}}])
def test_one_system_is_no_comparison(scores: dict[str, dict[str, float]]) -> None:
    with pytest.raises(UsageError, match="two or more"):
        compare(scores)


def test_another_system_moves_no_number_but_the_q_values() -> None:
    graded = {name: {key: value / 3 for key, value in items.items()} for name, items in BINARY.items()}
    alone = compare({name: graded[name] for name in ("a", "b")}, "f1")
    with_c = compare(graded, "f1")
    assert alone.systems == with_c.systems[:2]
    same = ("ci_low", "ci_high", "permutation_p", "hodges_lehmann", "cohens_dz")
    assert [getattr(alone.pairs[0], name) for name in same] == [
        getattr(with_c.pairs[0], name) for name in same
    ]


def test_a_metric_that_is_not_binary_has_sign_flips_and_no_q() -> None:
    scores = {name: {key: value / 2 for key, value in items.items()} for name, items in BINARY.items()}
    result = compare(scores, "f1")
    assert not result.is_binary
    assert all(each.mcnemar is None and each.p_value == each.permutation_p for each in result.pairs)
    assert result.cochran.p_value is None
    assert "not binary" in str(result.cochran.undefined_because)


def test_shares_of_several_draws_are_called_right_from_a_bound_up() -> None:
    scores = {
        name: {key: 0.2 + 0.4 * value for key, value in items.items()} for name, items in BINARY.items()
    }
    result = compare(scores, right_from=0.5)
    assert result.cochran == compare().cochran
    assert [each.mcnemar for each in result.pairs] == [each.mcnemar for each in compare().pairs]


def test_items_that_a_system_leaves_undefined_are_counted() -> None:
    result = compare({**BINARY, "a": {**BINARY["a"], "q0": None, "q1": None}})
    assert (result.systems[0].n_items, result.systems[0].n_undefined) == (28, 2)
    assert [each.n_pairs for each in result.pairs] == [28, 28, 30]
    assert result.cochran.n_items == 28


def test_clusters_are_counted_and_named() -> None:
    clusters = {f"q{i}": f"passage {i // 3}" for i in range(30)}
    result = compare(clusters=clusters)
    assert result.n_clusters == 10
    assert {each.n_clusters for each in result.pairs} == {10}
    assert {each.ci_method for each in result.pairs} == {"percentile bootstrap of 10 clusters"}


def test_no_item_one_item_and_equal_systems_have_reasons_in_place_of_numbers() -> None:
    nothing = compare({"a": {"q": None}, "b": {"q": None}})
    assert (nothing.systems[0].mean, nothing.pairs[0].p_value, nothing.cochran.q) == (None, None, None)
    assert "undefined for all of 1 items" in str(nothing.systems[0].undefined_because)
    one = compare({"a": {"q": 0.0}, "b": {"q": 1.0}})
    assert (one.pairs[0].mean_difference, one.pairs[0].ci_low) == (1.0, None)
    assert one.systems[0].undefined_because == "one item has no interval"
    equal = compare({"a": BINARY["a"], "b": BINARY["a"]})
    assert equal.pairs[0].p_value == 1.0
    assert "same items" in str(equal.cochran.undefined_because)
    for result in (nothing, one, equal, compare()):
        json.dumps(asdict(result), allow_nan=False)
