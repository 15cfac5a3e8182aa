import json
import multiprocessing
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from overnight.engines.state import EngineState, write_state
from overnight.errors import StoreError, UsageError
from overnight.runs.ending import end_run
from overnight.store.files import read_json, write_json, write_text
from overnight.store.manifest import (
    _KNOWN,
    RunManifest,
    TrialCounts,
    TrialRecord,
    TrialState,
    broken_seals,
    read_manifest,
    seal,
    update_manifest,
    write_manifest,
)
from overnight.store.run_folder import RunFolder, find_run, list_runs
from overnight.store.run_lock import block_lock, is_locked, reserved_run, run_lock

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def manifest(run_id: str = "r1", **fields: Any) -> RunManifest:
    plain: dict[str, Any] = {
        "run_id": run_id,
        "kind": "prompt-sweep",
        "name": "s",
        "fingerprint": "f" * 64,
        "created": NOW,
        "updated": NOW,
        "execution": {"condition": "both"},
        "environment": {"python": "3.11"},
        "trials": {name: TrialRecord(fingerprint=name * 8, requested={"top_k": 0}) for name in "ab"},
    }
    return RunManifest.model_validate(plain | fields)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "experiments" / "run_r1")
    write_manifest(run, manifest())
    return run


def test_a_manifest_reads_back(folder: RunFolder) -> None:
    assert read_manifest(folder) == manifest()


def test_a_change_of_one_trial_leaves_the_others(folder: RunFolder) -> None:
    after = update_manifest(
        folder, lambda m: m.with_trial("a", state=TrialState.DONE, counts=TrialCounts(done=3))
    )
    assert read_manifest(folder) == after
    assert after.trials["a"].counts.done == 3
    assert after.trials["b"] == manifest().trials["b"]
    assert after.updated > NOW
    assert after.created == NOW


def test_changes_made_at_once_are_all_kept(folder: RunFolder) -> None:
    def count(slug: str) -> None:
        for _ in range(10):
            update_manifest(
                folder, lambda m: m.with_trial(slug, counts=TrialCounts(done=m.trials[slug].counts.done + 1))
            )

    threads = [threading.Thread(target=count, args=(slug,)) for slug in "abab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [read_manifest(folder).trials[slug].counts.done for slug in "ab"] == [20, 20]


def _count_from_elsewhere(path: Path, slug: str) -> None:
    for _ in range(5):
        update_manifest(
            RunFolder(path),
            lambda m: m.with_trial(slug, counts=TrialCounts(done=m.trials[slug].counts.done + 1)),
        )


def test_changes_of_several_processes_are_all_kept(folder: RunFolder) -> None:
    # The jobs of a run on a cluster all write to its manifest.
    start = multiprocessing.get_context("spawn")
    jobs = [start.Process(target=_count_from_elsewhere, args=(folder.path, slug)) for slug in "ab"]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
        assert job.exitcode == 0
    assert [read_manifest(folder).trials[slug].counts.done for slug in "ab"] == [5, 5]


def test_two_jobs_work_on_the_trials_of_two_models_and_never_on_those_of_one(folder: RunFolder) -> None:
    with block_lock(folder, "a"), block_lock(folder, "b"):
        with (
            pytest.raises(UsageError, match="another process works on the trials of a"),
            block_lock(folder, "a"),
        ):
            pass
        with run_lock(folder):  # that is whose jobs they are
            pass
    with block_lock(folder, "a"):
        pass


def test_what_a_killed_process_said_of_its_engines_goes_with_the_end_of_the_run(folder: RunFolder) -> None:
    # It names a port and holds the token that was asked for there.
    state = folder.engines / "a.json"
    write_state(state, EngineState(status="serving"))
    with block_lock(folder, "a"):  # a job of its own may hold the model still
        end_run(folder, TrialState.STOPPED)
        assert state.exists()
    end_run(folder, TrialState.DONE)
    assert not state.exists()


def test_a_change_that_fails_leaves_the_manifest_as_it_was(folder: RunFolder) -> None:
    before = folder.manifest.read_bytes()
    with pytest.raises(ZeroDivisionError):
        update_manifest(folder, lambda _: 1 / 0)  # type: ignore[arg-type,return-value]
    assert folder.manifest.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema_version 2, this version reads 1"),
        ({"schema_version": None}, "schema_version None"),
        ({"created": "yesterday"}, "created: "),
        ({"state": "finished"}, "state: "),
        ({"surprise": 1}, "surprise: "),
    ],
)
def test_a_manifest_that_cannot_be_ours_is_refused(
    folder: RunFolder, change: dict[str, Any], message: str
) -> None:
    write_json(folder.manifest, read_json(folder.manifest) | change)
    with pytest.raises(StoreError, match=f"manifest.json: {message}"):
        read_manifest(folder)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", "{"])
def test_a_manifest_that_was_damaged_is_refused(folder: RunFolder, text: str) -> None:
    folder.manifest.write_text(text)
    with pytest.raises(StoreError, match=r"manifest\.json"):
        read_manifest(folder)


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    write_text(tmp_path / "results" / "predictions.csv", "a,b\n")
    return tmp_path / "results" / "predictions.csv"


def test_an_untouched_file_keeps_its_seal(tmp_path: Path, sealed: Path) -> None:
    name, artifact = seal(tmp_path, sealed, rows=1)
    assert (name, artifact.bytes, artifact.rows) == ("results/predictions.csv", 4, 1)
    assert broken_seals(tmp_path, {name: artifact}) == []


@pytest.mark.parametrize("content", ["a,c\n", "a,b\n\n", ""])
def test_a_changed_file_breaks_its_seal(tmp_path: Path, sealed: Path, content: str) -> None:
    artifacts = dict([seal(tmp_path, sealed)])
    sealed.write_text(content)
    assert broken_seals(tmp_path, artifacts) == ["results/predictions.csv"]


def test_a_missing_file_and_a_folder_in_its_place_break_the_seal(tmp_path: Path, sealed: Path) -> None:
    artifacts = dict([seal(tmp_path, sealed)])
    sealed.unlink()
    assert broken_seals(tmp_path, artifacts) == ["results/predictions.csv"]
    sealed.mkdir()
    assert broken_seals(tmp_path, artifacts) == ["results/predictions.csv"]


def test_a_run_is_found_by_id_with_and_without_prefix_and_by_path(folder: RunFolder) -> None:
    experiments = folder.path.parent
    for word in ("r1", "run_r1", str(folder.path)):
        assert find_run(experiments, word) == RunFolder(folder.path.resolve())


@pytest.mark.parametrize("word", ["r2", "../experiments", ".", "..", "/", "nowhere/run_r1"])
def test_a_run_that_is_not_there_is_answered_with_the_newest(folder: RunFolder, word: str) -> None:
    with pytest.raises(UsageError, match=r"no run .*; the newest is r1"):
        find_run(folder.path.parent, word)


def test_a_folder_without_a_manifest_is_no_run(folder: RunFolder) -> None:
    (folder.path.parent / "run_r0").mkdir()
    write_manifest(RunFolder(folder.path.parent / "run_r2"), manifest("r2"))
    assert [run.run_id for run in list_runs(folder.path.parent)] == ["r1", "r2"]


def test_two_trials_share_no_file(folder: RunFolder) -> None:
    def files(slug: str) -> set[Path]:
        trial = folder.trial(slug)
        names = [
            trial.journal,
            trial.predictions,
            trial.scores,
            trial.significance,
            trial.costs,
            trial.report,
        ]
        return {*names, trial.part_state("p"), folder.batch_inputs(slug)}

    assert len(files("a")) == 8
    assert files("a") & files("b") == set()


def test_a_run_that_somebody_works_on_is_not_worked_on_twice(folder: RunFolder) -> None:
    assert not is_locked(folder)
    with run_lock(folder):
        assert is_locked(folder)
        with pytest.raises(UsageError, match="being worked on by another process"), run_lock(folder):
            pytest.fail("held twice")
    assert not is_locked(folder)


def test_a_run_that_is_reserved_is_held_for_one_and_stops_when_it_is_asked_to_meanwhile(
    folder: RunFolder,
) -> None:
    # From a command to the first trial it takes seconds, and Ctrl-C in one of them has to count.
    folder.stop_request.touch()  # of a process that was killed
    with reserved_run(folder):
        assert is_locked(folder)
        assert not folder.stop_request.exists()
        folder.stop_request.touch()
        with run_lock(folder):
            assert folder.stop_request.exists()
            with pytest.raises(UsageError, match="being worked on"), run_lock(folder):
                pytest.fail("held twice")
        assert is_locked(folder)
    assert not is_locked(folder)


def test_what_was_asked_of_a_killed_process_is_forgotten(folder: RunFolder) -> None:
    folder.stop_request.touch()
    with run_lock(folder):
        assert not folder.stop_request.exists()


def test_a_manifest_that_is_written_in_parts_is_the_text_that_it_was_as_a_whole(folder: RunFolder) -> None:
    # The text of records that did not change is kept; what stands in the file must not tell.
    for name, error in (("a", 'a "quote"\nand a line'), ("b", "\ud800"), ("a", None)):
        after = update_manifest(folder, lambda m, n=name, e=error: m.with_trial(n, error=e))
        whole = (
            json.dumps(after.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        )
        assert folder.manifest.read_bytes() == whole.encode("utf-8", "backslashreplace")
    without = manifest(trials={})
    write_manifest(folder, without)
    assert folder.manifest.read_text() == json.dumps(without.model_dump(mode="json"), indent=2) + "\n"


def test_what_somebody_else_wrote_is_what_is_read_and_changed(folder: RunFolder) -> None:
    # Jobs on other machines write the same manifest: nothing that this process knows may win over them.
    theirs = read_json(folder.manifest)
    theirs["trials"]["a"]["state"] = "failed"
    write_json(folder.manifest, theirs)
    after = update_manifest(folder, lambda m: m.with_trial("b", state=TrialState.DONE))
    assert after.trials["a"].state is TrialState.FAILED
    folder.manifest.unlink()
    with pytest.raises(StoreError, match="no such file"):
        read_manifest(folder)


def test_a_manifest_reads_the_same_for_its_writer_as_for_others(folder: RunFolder) -> None:
    # What went through the file has lists where there were tuples; its writer must not see the tuples.
    update_manifest(folder, lambda m: m.with_trial("a", effective={"slots": (1, 2)}))
    seen = read_manifest(folder)
    _KNOWN.clear()
    assert seen == read_manifest(folder)
    assert seen.trials["a"].effective == {"slots": [1, 2]}
