import csv
import json

import pytest
from sklearn.metrics import roc_auc_score

from overnight.report.uncertainty.auroc_results import FIRST_COLUMNS, size_band, write_auroc_results
from overnight.report.uncertainty.summary import write_summary
from tests.unit.uncertainty.trials import made_up_run

# spec/uncertainty.md E5, in its order and spelling.
SEED = [
    "model_name",
    "model_family",
    "model_size",
    "quantization",
    "dataset",
    "run_id",
    "experiment_lot",
    "G-NLL_AUROC",
    "Accuracy",
    "Num_examples",
    "Num_correct",
    "Num_incorrect",
    "Mean_G-NLL",
    "Std_G-NLL",
    "RW-G-NLL_AUROC",
    "Mean_RW-G-NLL",
    "Std_RW-G-NLL",
]


def strict(path):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


@pytest.fixture(scope="module")
def folder(analysis, tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    write_auroc_results(path, analysis)
    write_summary(path / "analysis_summary.json", analysis)
    return path


@pytest.fixture(scope="module")
def rows(folder):
    with (folder / "auroc_results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_columns_that_people_know_come_first(rows) -> None:
    assert list(FIRST_COLUMNS) == SEED
    assert list(rows[0])[: len(SEED)] == SEED


def test_a_row_is_a_trial_and_says_which_label(rows) -> None:
    assert [(row["model_name"], row["dataset"]) for row in rows] == [
        (trial.model.name, trial.dataset) for trial in made_up_run()
    ]
    assert {row["label"] for row in rows} == {"f1"}
    assert (rows[0]["run_id"], rows[0]["experiment_lot"]) == ("r1", "made-up")


def test_areas_are_those_of_scikit_learn(rows) -> None:
    for row, trial in list(zip(rows, made_up_run(), strict=True))[:-1]:
        g_nll = [cell.value for cell in trial.measures.column("g_nll").cells]
        for label, column in (("f1", "g_nll_auroc"), ("em", "g_nll_auroc_by_em")):
            is_wrong = [cell.value == 0 for cell in trial.labels.column(label).cells]
            assert float(row[column]) == pytest.approx(roc_auc_score(is_wrong, g_nll))
        assert row["G-NLL_AUROC"] == row["g_nll_auroc"]
        assert float(row["g_nll_auroc_low"]) < float(row["g_nll_auroc"]) < float(row["g_nll_auroc_high"])


def test_counts_add_up(rows) -> None:
    for row in rows:
        assert int(row["Num_correct"]) + int(row["Num_incorrect"]) == int(row["Num_examples"]) == 80
        assert float(row["Accuracy"]) == int(row["Num_correct"]) / 80


def test_what_cannot_be_judged_is_empty_and_says_why(rows) -> None:
    last = rows[-1]
    assert (last["G-NLL_AUROC"], last["g_nll_auprc"], last["g_nll_aurc"]) == ("", "", "")
    assert last["g_nll_degenerate"] == "one_class"
    assert "80 right and 0 wrong" in last["g_nll_undefined_because"]
    assert last["Accuracy"] == "1.0"
    # No relevance was had at all: no number, and no other measure's in its place.
    assert {row["RW-G-NLL_AUROC"] + row["Mean_RW-G-NLL"] for row in rows} == {""}


def test_the_json_file_has_the_rows_and_everything_behind_them(folder, rows) -> None:
    records = strict(folder / "auroc_results.json")
    assert len(records) == len(rows)
    assert list(records[0])[: len(SEED)] == SEED
    first = records[0]["labels"][1]
    assert first["label"] == "f1"
    assert first["measures"][0]["discrimination"]["ranking"]["auroc"] == records[0]["G-NLL_AUROC"]
    assert records[-1]["G-NLL_AUROC"] is None
    assert records[-1]["labels"][1]["measures"][0]["discrimination"]["ranking"] is None


def test_the_summary_begins_as_people_know_it_and_is_strict(folder) -> None:
    summary = strict(folder / "analysis_summary.json")
    assert list(summary)[:3] == ["experiment_overview", "best_performers", "statistics"]
    assert summary["experiment_overview"]["n_trials"] == 8
    best = summary["best_performers"]["by_trial"]
    assert len(best) == 5
    assert [one["auroc"] for one in best] == sorted((one["auroc"] for one in best), reverse=True)
    assert all(one["low"] < one["auroc"] < one["high"] for one in best)


def test_statistics_leave_out_what_cannot_be_judged(folder, rows) -> None:
    statistics = strict(folder / "analysis_summary.json")["statistics"]
    areas = [float(row["G-NLL_AUROC"]) for row in rows if row["G-NLL_AUROC"]]
    assert statistics["AUROC"]["count"] == len(areas) == 7
    assert statistics["AUROC"]["mean"] == pytest.approx(sum(areas) / 7)
    assert statistics["Accuracy"]["count"] == 8
    (birch,) = [one for one in statistics["by_family"] if one["level"] == "Birch"]
    assert (birch["n_cells"], birch["n_degenerate"]) == (1, 1)


def test_the_summary_names_every_degenerate_result(folder, analysis) -> None:
    named = strict(folder / "analysis_summary.json")["degenerate"]
    assert len(named) == len(list(analysis.degenerate())) > 0
    assert all(one["sentence"] for one in named)


@pytest.mark.parametrize(
    ("parameters", "band"),
    [(1.35e8, "Small"), (1.5e9, "Small"), (7.2e9, "Large"), (13e9, "Large"), (70e9, "XLarge")],
)
def test_e18_a_size_is_read_from_a_number_not_from_a_name(parameters, band) -> None:
    assert size_band(parameters) == band
