import json
from pathlib import Path

import pytest

from overnight.best_of_k.definitions import Measure
from overnight.cli.plotting import plot_k_sweeps
from overnight.errors import UsageError
from overnight.report.best_of_k.old_results import curve_of_old
from overnight.store.manifest import read_manifest
from overnight.store.run_folder import RunFolder
from tests.unit.report.best_of_k.sweep_run import write_sweep_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return write_sweep_run(tmp_path_factory.mktemp("experiments"), statistics={"n_resamples": 20})


def test_several_runs_and_files_are_drawn_together_as_png_and_pdf(
    folder: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "gemma3_k_sweep_full.json"
    old.write_text(
        json.dumps({"results_by_k": [{"k": 1, "variance_recovery": 0.2}, {"k": 4, "variance_recovery": 0.5}]})
    )
    file = folder.trial(next(iter(read_manifest(folder).trials))).k_sweep
    words = [str(folder.path), str(file), str(old)]
    plot_k_sweeps(words, tmp_path / "out" / "both.png", "fve", tmp_path, with_histograms=True)
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {f"both{which}.{kind}" for which in ("", "-hist") for kind in ("png", "pdf")}
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_what_cannot_be_drawn_is_one_clear_line(folder: RunFolder, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("[]")
    broken = tmp_path / "broken.json"
    broken.write_text('{"results_by_k": [{"k": "four"}]}')
    for words, measure, message in (
        (["nowhere"], "fve", "no run 'nowhere'"),
        ([str(wrong)], "fve", "has no results_by_k"),
        ([str(broken)], "fve", "without a number"),
        ([str(folder.path)], "mean", "wanted one of fve, bias_aware_fve"),
    ):
        with pytest.raises(UsageError, match=message) as raised:
            plot_k_sweeps(words, tmp_path / "k.png", measure, tmp_path, with_histograms=False)
        assert "\n" not in str(raised.value)
    old = tmp_path / "old.json"
    old.write_text('{"results_by_k": [{"k": 1, "variance_recovery": 0.2}]}')
    with pytest.raises(UsageError, match="none has cosine"):
        plot_k_sweeps([str(old)], tmp_path / "k.png", "cosine", tmp_path, with_histograms=False)
    with pytest.raises(UsageError, match=r"--hist: none of these results has a candidates.jsonl"):
        plot_k_sweeps([str(old)], tmp_path / "k.png", "fve", tmp_path, with_histograms=True)


def test_an_interval_from_zero_to_zero_of_an_older_file_was_never_computed() -> None:
    row = {
        "k": 2,
        "variance_recovery": 0.4,
        "variance_recovery_ci_lower": 0.0,
        "variance_recovery_ci_upper": 0.0,
    }
    (at,) = curve_of_old([{**row, "avg_mse": 1.5, "mse_ci_lower": 1.4, "mse_ci_upper": 1.6}]).by_k
    assert (at.measures[Measure.FVE].value, at.measures[Measure.FVE].ci_lower) == (0.4, None)
    assert (at.measures[Measure.MSE].ci_lower, at.measures[Measure.MSE].ci_upper) == (1.4, 1.6)
    assert at.measures[Measure.BIAS_AWARE_FVE].value is None
