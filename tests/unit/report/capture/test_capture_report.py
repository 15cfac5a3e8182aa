import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from overnight.captures import summary
from overnight.captures.reading import read_captures
from overnight.report.capture.figures import trait_of
from overnight.report.capture.files import write_trial_tables
from overnight.report.capture.findings import findings, verdict
from overnight.report.capture.markdown import run_markdown
from overnight.report.capture.page import run_page
from overnight.report.capture.reading import read_capture
from overnight.report.capture.results import CaptureReport
from overnight.store.run_folder import RunFolder
from tests.unit.captures.made_up_run import DYNAMICS, write_capture_run

TRIAL = "tiny-uncertainty-00000000"
HOSTILE = "</script><script>alert(1)</script>"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return write_capture_run(tmp_path / "experiments")


@pytest.fixture
def report(folder: RunFolder) -> CaptureReport:
    return read_capture(folder)


def test_the_verdict_counts_vectors_that_are_better_than_chance(report: CaptureReport) -> None:
    # Of three made-up vectors the second has p = .41, the others p = .0099; of five prompts one failed.
    assert verdict(report) == (
        "2 of 3 trait vectors are better than chance on held-out texts (p < 0.05); 4 prompts of 5 captured."
    )


def test_vectors_that_are_no_better_than_chance_are_named_and_no_group_is_told_by_them(
    report: CaptureReport,
) -> None:
    sentences = findings(report)
    no_better = next(one for one in sentences if one.startswith("Not better than chance"))
    assert "commitment" in no_better
    assert "Read nothing into the scores of this vector" in no_better
    assert not any(one.startswith("Replies show commitment") for one in sentences)
    assert any(one.startswith("Replies show uncertainty most in") for one in sentences)
    assert any("commitment-0" in one for one in sentences)


def test_a_group_is_the_mean_over_prompts_of_means_over_replies(
    folder: RunFolder, report: CaptureReport
) -> None:
    (model,) = report.models
    shown = model.traits[0]
    assert (shown.point, shown.is_chosen, shown.has_z) == ("2.residual_out", True, True)
    wanted = []
    for prompt in read_captures(folder.path, folder.trial(TRIAL).results / "captures.jsonl"):
        assert prompt.z is not None
        place = prompt.points.index("2.residual_out")
        wanted.append(float(np.mean(prompt.z[prompt.n_prompt :, place, 0], dtype=np.float64)))
    cell = report.cell("tiny", "uncertainty", "uncertainty")
    assert cell.values == pytest.approx(tuple(wanted))
    assert cell.mean == pytest.approx(sum(wanted) / len(wanted))


def test_without_a_record_of_worth_the_middle_layer_is_shown_and_said_so(folder: RunFolder) -> None:
    (folder.path / "vectors/tiny/validity.json").unlink()
    report = read_capture(folder)
    assert not any(shown.is_chosen for shown in report.models[0].traits)
    assert verdict(report).startswith("Nothing says what the vectors are worth")
    assert "vectors/tiny/validity.json: no such file" in run_markdown(report)


def test_what_is_undefined_is_said_and_never_a_number(folder: RunFolder) -> None:
    path = folder.path / "captures/uncertainty-0.safetensors"
    tensors = load_file(path)
    header = json.loads(path.read_bytes()[8 : 8 + int.from_bytes(path.read_bytes()[:8], "little")])
    tensors["z"][:, :, 0] = np.nan
    save_file(tensors, path, metadata=header["__metadata__"])
    report = read_capture(folder)
    assert report.cell("tiny", "uncertainty", "uncertainty").n_undefined == 1
    text = run_markdown(report)
    assert "(1 undefined)" in text
    assert "nan" not in text.lower().split()


def test_a_damaged_file_fails_one_prompt_and_is_named(folder: RunFolder) -> None:
    (folder.path / "captures/uncertainty-1.safetensors").write_bytes(b"x")
    report = read_capture(folder)
    assert [one.prompt_id for one in report.failed] == ["uncertainty-1", "commitment-0"]
    page = run_page(report)
    assert "captures/uncertainty-1.safetensors: not a whole safetensors file" in page
    assert report.strips is not None
    assert report.strips.n_shown == 3


def test_a_run_before_anything_was_captured_has_a_report(folder: RunFolder) -> None:
    for path in folder.path.glob("*/results/captures.jsonl"):
        path.unlink()
    report = read_capture(folder)
    assert report.strips is None
    assert "Token by token" not in run_page(report)
    assert "0 prompts of 0 captured" in run_markdown(report)


def test_the_page_fetches_nothing_and_escapes_everything(tmp_path: Path) -> None:
    report = read_capture(write_capture_run(tmp_path / "experiments", hostile=HOSTILE))
    page = run_page(report)
    assert HOSTILE not in page
    assert "default-src 'none'" in page
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", page)
    data = re.search(r'<script type="application/json" id="strips-data">(.*?)</script>', page, re.DOTALL)
    assert data
    assert HOSTILE in json.loads(data[1])["rows"][0][5]
    assert HOSTILE not in run_markdown(report)


def test_both_reports_have_the_same_tables(report: CaptureReport) -> None:
    page, text = run_page(report), run_markdown(report)
    for heading in (
        "Findings",
        "What the vectors are worth",
        "Groups and traits",
        "How alike the vectors are",
        "Prompts",
    ):
        assert f"## {heading}" in text
        assert f">{heading}</h2>" in page
    assert "1,000,000" not in text
    assert page.count("<h2") == len(set(re.findall(r'<h2 id="([a-z]+)"', page)))


def test_a_heat_map_shows_the_trait_that_its_group_is_named_after(
    folder: RunFolder, report: CaptureReport
) -> None:
    (model,) = report.models
    prompt = next(read_captures(folder.path, folder.trial(TRIAL).results / "captures.jsonl"))
    assert trait_of(model, prompt).trait == "uncertainty"


def test_tables_are_made_again_from_the_files_of_sequences(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "known_dynamics", lambda: DYNAMICS)
    trial = folder.trial(TRIAL)
    before = {path.name: path.read_bytes() for path in trial.results.iterdir()}
    for path in trial.results.iterdir():
        if path.name != "captures.jsonl":
            path.unlink()
    assert [path.name for path in write_trial_tables(folder, trial)] == [
        "projections.parquet",
        "summary.csv",
        "index.json",
    ]
    assert {path.name: path.read_bytes() for path in trial.results.iterdir()} == before
