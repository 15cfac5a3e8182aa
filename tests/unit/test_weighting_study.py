"""The study of 43 ways to weigh tokens, where a sweep asks for it."""

import json

from sklearn.metrics import roc_auc_score

from overnight.runs.opening import load_plan, load_uncertainty_sweep
from overnight.runs.uncertainty_measuring import write_measures
from overnight.runs.uncertainty_table import read_measured_items
from tests.unit.report.uncertainty.sweep_folder import grid

FEW = {"measures": ["g_nll", "average_nll"], "labels": ["f1"], "statistics": {"resamples": 20}}


def studied(tmp_path, n_items: int, **experiment):
    folder = grid(tmp_path / "run_r1", n_items, 1, **FEW | experiment)
    spec = load_uncertainty_sweep(folder)
    plan = load_plan(folder, spec)
    trial = plan.trials[0]
    files = folder.trial(trial.slug)
    write_measures(
        files, plan, trial, spec.experiment.model_copy(update={"weighting_study": True, "relevance": None})
    )
    return json.loads(files.weighting_study.read_text()), read_measured_items(files.results)


def test_schemes_are_chosen_on_half_of_the_items_and_judged_on_the_other(tmp_path) -> None:
    record, items = studied(tmp_path, 60)
    found = record["selection"]
    assert record["n_schemes"] == 38  # of 43: relevance alone, and four mixtures with it, need a text model
    assert found["baseline"] == "uniform"
    assert found["n_chosen_on"] + found["n_judged_on"] == 60
    right = [cell.value for cell in items.labels.column("f1").cells]
    average = [cell.value for cell in items.measures.column("average_nll").cells]
    # Equal weights are the average NLL: its area is what every gain is taken from.
    baseline = roc_auc_score([not value for value in right], average)
    for candidate in found["candidates"]:
        assert abs(candidate["auroc"] - candidate["gain"] - baseline) < 1e-12
        assert 0 < candidate["p_max"] <= 1


def test_too_few_answers_of_a_kind_are_named_and_nothing_is_chosen(tmp_path) -> None:
    record, _ = studied(tmp_path, 6)
    assert record["selection"] is None
    assert "two halves want 10 of each kind" in record["undefined_because"]


def test_a_sweep_that_does_not_ask_for_it_has_no_study(tmp_path) -> None:
    folder = grid(tmp_path / "run_r1", 6, 1, **FEW)
    assert not list(folder.path.glob("*/results/weighting_study.json"))
