"""What a tracker is told of trials, from the files of their run."""

from datetime import timedelta

import pytest

from overnight.report import tracked
from overnight.report.tracked import tracked_trials
from overnight.store.manifest import read_manifest
from overnight.store.run_folder import RunFolder
from tests.tracking.runs import write_run


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    path = tmp_path / "run_r1"
    path.mkdir()
    return RunFolder(path)


def test_a_long_table_is_cut_and_its_length_is_said(folder, monkeypatch) -> None:
    write_run(folder)
    monkeypatch.setattr(tracked, "LARGEST_TABLE", 10)
    first = next(tracked_trials(folder, read_manifest(folder)))
    assert first.table is not None
    assert (len(first.table.rows), first.table.n_all) == (10, 24)
    assert first.config["table_rows"] == {"shown": 10, "all": 24}


def test_columns_hold_numbers_or_texts_and_keys_stay_texts(folder) -> None:
    write_run(folder)
    path = folder.trial("tiny-facts").uncertainty
    path.write_text("item_key,a,b,c\n007,1,x,\n008,,2,\n")
    first = next(tracked_trials(folder, read_manifest(folder)))
    assert first.table is not None
    assert first.table.rows == (("007", 1.0, "x", None), ("008", None, "2", None))


def test_a_trial_has_one_key_that_no_other_run_of_that_name_has(folder) -> None:
    write_run(folder)
    manifest = read_manifest(folder)
    keys = [trial.key for trial in tracked_trials(folder, manifest)]
    assert len(set(keys)) == 2
    assert [trial.key for trial in tracked_trials(folder, manifest)] == keys
    another = manifest.model_copy(update={"created": manifest.created + timedelta(seconds=1)})
    assert not set(keys) & {trial.key for trial in tracked_trials(folder, another)}


def test_without_an_analysis_there_are_counts_and_no_aurocs(folder) -> None:
    write_run(folder)
    folder.auroc_results.unlink()
    first = next(tracked_trials(folder, read_manifest(folder)))
    assert first.metrics["counts/done"] == 24
    assert not [name for name in first.metrics if name.startswith("auroc")]
