import json
import random
from pathlib import Path
from typing import Any

import pytest

from overnight.cli.statistics import show_statistics
from overnight.errors import UsageError
from overnight.stats.mcnemar import mcnemar

HEADER = "dataset,item_key,type,condition,temp,em,f1,abstain_rate,false_answer_rate,unsupported_rate"
TESTED = {"open": ["em", "f1", "abstain_rate", "false_answer_rate", "unsupported_rate"]}


def rows(n: int, seed: int = 1) -> list[str]:
    rng = random.Random(seed)
    return [
        f"d,d|{i},open,{arm},0.0,{float(rng.random() < share)},{round(rng.random() * share, 2)},0.0,,0.5"
        for i in range(n)
        for arm, share in (("control", 0.4), ("treatment", 0.7))
    ]


def stats(path: Path, out: Path, **settings: Any) -> Any:
    settings = {"metric": None, "resamples": 60, "confidence": 0.95, "seed": 7} | settings
    show_statistics(path, out, **settings)
    written = out if out.suffix else next(out.iterdir())
    return json.loads(written.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@pytest.fixture
def table(tmp_path: Path):
    def write(lines: list[str], header: str = HEADER) -> Path:
        path = tmp_path / "scores.csv"
        path.write_text("\n".join([header, *lines, ""]))
        return path

    return write


def test_a_table_of_arms_gives_what_a_run_writes(table, tmp_path: Path) -> None:
    lines = rows(40)
    record = stats(table(lines), tmp_path / "out")
    assert (tmp_path / "out" / "significance.json").is_file()
    assert (record["schema_version"], record["temps"]) == (3, ["0.0"])
    cell = record["results"]["0.0"]["open"]
    assert (cell["n_items"], cell["n_clusters"], list(cell["metrics"])) == (40, 40, TESTED["open"])
    right = {tuple(line.split(",")[1:4:2]): line.split(",")[5] == "1.0" for line in lines}
    b = sum(right[f"d|{i}", "treatment"] > right[f"d|{i}", "control"] for i in range(40))
    c = sum(right[f"d|{i}", "treatment"] < right[f"d|{i}", "control"] for i in range(40))
    assert cell["mcnemar"]["p_exact"] == mcnemar(b, c).p_exact == cell["metrics"]["em"]["p_value"]
    assert cell["metrics"]["em"]["delta_mean"] == pytest.approx((b - c) / 40)
    tost = cell["metrics"]["em"]["tost"]
    assert tost["margin"] == 0.01
    assert tost["p_value"] == max(tost["p_lower"], tost["p_upper"])
    assert cell["metrics"]["abstain_rate"]["tost"] is None  # no margin was declared for it
    # No unanswerable item: the rate exists nowhere, and says so.
    assert cell["metrics"]["false_answer_rate"]["p_value"] is None
    assert "40 in neither" in cell["metrics"]["false_answer_rate"]["undefined_because"]
    assert record["stats_config"]["n_tests"] == 4


def test_the_order_of_the_rows_changes_no_digit(table, tmp_path: Path) -> None:
    lines = rows(30)
    first = stats(table(lines), tmp_path / "a.json")
    random.Random(3).shuffle(lines)
    assert stats(table(lines), tmp_path / "b.json") == first


def test_another_metric_moves_no_number_but_the_q_values(table, tmp_path: Path) -> None:
    # The original drew all metrics from one stream.
    lines = rows(30)
    plain = stats(table(lines), tmp_path / "a.json")
    with_rouge = stats(
        table([f"{line},{i % 3 / 2}" for i, line in enumerate(lines)], f"{HEADER},rouge_l"),
        tmp_path / "b.json",
    )
    before, after = (r["results"]["0.0"]["open"]["metrics"] for r in (plain, with_rouge))
    assert set(after) - set(before) == {"rouge_l"}
    adjusted = ("q_value", "q_value_by", "p_holm")
    for metric, numbers in before.items():
        assert {k: v for k, v in after[metric].items() if k not in adjusted} == {
            k: v for k, v in numbers.items() if k not in adjusted
        }
    assert with_rouge["stats_config"]["n_tests"] == plain["stats_config"]["n_tests"] + 1


def test_questions_on_one_passage_are_one_unit(table, tmp_path: Path) -> None:
    lines = [f"{line},passage {i // 8}" for i, line in enumerate(rows(40))]
    cell = stats(table(lines, f"{HEADER},cluster"), tmp_path / "a.json")["results"]["0.0"]["open"]
    assert (cell["n_items"], cell["n_clusters"]) == (40, 10)
    assert cell["metrics"]["f1"]["ci_method"] == "percentile bootstrap of 10 clusters"


def test_a_table_without_rows_is_refused(table, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no rows below the header"):
        stats(table([]), tmp_path)


@pytest.mark.parametrize("n", [1, 2])
def test_one_and_two_pairs_are_defined(table, tmp_path: Path, n: int) -> None:
    record = stats(table(rows(n)), tmp_path / "a.json")
    metrics = record["results"]["0.0"]["open"]["metrics"]
    assert metrics["f1"]["n_pairs"] == n
    assert metrics["f1"]["delta_mean"] is not None
    assert (metrics["f1"]["ci"] == [None, None]) == (n == 1)
    assert (metrics["f1"]["undefined_because"] == "one pair has no interval") == (n == 1)
    # Equal scores: no spread, so no effect size and no t test, and the reason stands beside it.
    same = metrics["unsupported_rate"]
    assert (same["p_value"], same["wilcoxon"], same["cohens_dz"], same["rank_biserial"]) == (
        1.0,
        None,
        None,
        None,
    )
    assert same["hodges_lehmann"] == 0.0


def test_systems_of_published_models(shared_data: Path, tmp_path: Path, capsys) -> None:
    path = shared_data / "lm_eval_samples" / "per_item.csv"
    record = stats(path, tmp_path, metric="bleu_acc", resamples=2)
    assert (record["n_items"], len(record["systems"]), len(record["pairs"])) == (817, 15, 105)
    assert record["cochran"]["df"] == 14
    printed = capsys.readouterr().out
    assert "and 85 more pairs" in printed
    assert "Cochran's Q over 817 items" in printed


def test_a_metric_is_named_for_systems_and_only_for_them(table, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave --metric out"):
        stats(table(rows(2)), tmp_path, metric="em")
    wide = tmp_path / "wide.csv"
    wide.write_text("id,a,b\n1,0,1\n")
    with pytest.raises(UsageError, match="say which metric with --metric"):
        stats(wide, tmp_path)
    with pytest.raises(UsageError, match="--confidence"):
        stats(wide, tmp_path, metric="em", confidence=95.0)
