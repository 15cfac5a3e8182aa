"""An analysis is made once, kept with the digest of what it was made of, and made again where that has changed."""

import json

import pytest

from overnight.report.uncertainty import reading
from overnight.report.uncertainty.files import write_files_again
from overnight.runs.analysis_file import inputs_digest, read_analysis_file, write_analysis_file
from overnight.runs.opening import load_plan, load_uncertainty_sweep
from overnight.runs.uncertainty_analysing import analysis_of, measured_slugs
from tests.unit.report.uncertainty.sweep_folder import grid

FEW = {"measures": ["g_nll", "average_nll", "n_tokens"], "labels": ["em", "f1"]}


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overnight.report.uncertainty.files.write_figures", lambda *_: [])
    monkeypatch.setattr("overnight.report.uncertainty.reading.write_figures", lambda *_: [])


@pytest.fixture
def folder(tmp_path):
    return grid(tmp_path / "run_r1", 30, 2, statistics={"resamples": 30}, **FEW)


def made_of(folder):
    spec = load_uncertainty_sweep(folder)
    plan = load_plan(folder, spec)
    slugs = measured_slugs(folder, plan)
    return spec, plan, slugs, inputs_digest(folder, plan, slugs)


def test_an_analysis_reads_back_as_it_was_written(folder) -> None:
    # Every number and every reason of two models on two data sets, one cell of which cannot be judged.
    spec, plan, slugs, inputs = made_of(folder)
    analysis = analysis_of(folder, spec, plan, slugs)
    assert any(analysis.degenerate())
    write_analysis_file(folder, analysis, inputs)
    assert read_analysis_file(folder, inputs) == analysis
    assert read_analysis_file(folder, "another digest") is None


def test_a_report_takes_the_analysis_that_the_run_made(folder, monkeypatch) -> None:
    write_files_again(folder)
    before = reading.read_uncertainty(folder).analysis
    monkeypatch.setattr(reading, "analysis_of", lambda *_: pytest.fail("it was analysed a second time"))
    assert reading.read_uncertainty(folder).analysis == before


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: next(folder.path.glob("*/results/uncertainty.csv")),
        lambda folder: next(folder.path.glob("*/results/generations.jsonl")),
        lambda folder: folder.items("passages"),
        lambda folder: folder.effective_config,
    ],
    ids=["table", "journal", "items", "configuration"],
)
def test_what_it_was_made_of_may_not_have_changed(folder, change) -> None:
    _, plan, slugs, inputs = made_of(folder)
    path = change(folder)
    path.write_bytes(path.read_bytes() + b"\n")
    assert inputs_digest(folder, plan, slugs) != inputs
    assert inputs_digest(folder, plan, slugs[:1]) != inputs


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"schema_version": 1}', "half"])
def test_a_damaged_file_is_as_good_as_none(folder, damage) -> None:
    write_files_again(folder)
    *_, inputs = made_of(folder)
    value = json.loads(folder.analysis.read_text())
    del value["analysis"]["trials"]
    folder.analysis.write_text(json.dumps(value) if damage == "half" else damage)
    assert read_analysis_file(folder, inputs) is None
    assert reading.read_uncertainty(folder).analysis is not None
