import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from overnight.cli import main
from overnight.diagnosis.diagnosing import diagnose
from overnight.diagnosis.gathering import gather
from overnight.ids import custom_id
from overnight.records import Condition, Item
from overnight.store.files import read_json, write_json
from overnight.store.journal import Journal
from overnight.store.manifest import TrialState
from overnight.store.run_folder import RunFolder


@pytest.fixture
def folder(make_run, trial, questions: list[Item], better_replies: Any) -> RunFolder:
    """Return a finished run of twelve items in two arms whose control answers were cut off every other time."""
    run: RunFolder = make_run([trial("brief", better_replies)], questions)
    plan = read_json(run.plan)
    (planned,) = plan["blocks"][0]["trials"]
    planned["n_requests"] = 24
    write_json(run.plan, plan)
    with Journal(run.trial(planned["slug"]).journal) as journal:
        journal.append(
            {
                "custom_id": custom_id(item.key, arm.value, 0.0, 0, "closed"),
                "status": "ok",
                "finish_reason": "length" if arm is Condition.CONTROL and number % 2 else "stop",
                "text": "gold",
                "prompt_tokens": 50,
                "cached_tokens": 0,
                "completion_tokens": 32 if arm is Condition.CONTROL and number % 2 else 20,
                "attempt": 1,
            }
            for number, item in enumerate(questions)
            for arm in Condition
        )
    return run


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, str, str]:
    with pytest.raises(SystemExit) as leaving:
        main(["doctor", *arguments])
    printed = capsys.readouterr()
    return leaving.value.code, printed.out, printed.err


def test_findings_come_from_the_files_of_the_run_alone(folder: RunFolder) -> None:
    # Six of 24 answers were cut off, all of them in one arm; the block was restarted twice.
    diagnosis = diagnose(gather(folder))
    assert [finding.name for finding in diagnosis.findings] == ["truncated", "restarts"]
    truncated = diagnosis.findings[0]
    assert ("answers cut off", 6, "of 24") in truncated.evidence
    assert truncated.severity == "problem"  # half of one arm, none of the other
    assert diagnosis.unread == ()


def test_a_finding_is_no_failure_of_the_command(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, str(folder.path))
    assert (code, err) == (0, "")
    assert "experiment.defaults.max_new_tokens.closed: 32 -> " in out
    assert "not looked at:" in out


def test_json_holds_findings_what_was_looked_at_and_what_was_not(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(capsys, str(folder.path), "--json")
    record = json.loads(out)
    assert code == 0
    assert [finding["name"] for finding in record["findings"]] == ["truncated", "restarts"]
    assert record["findings"][0]["remedies"][0]["old"] == 32
    assert "row mismatch" in record["looked_at"]
    assert "thermal" in record["not_looked_at"]


def test_damaged_files_are_named_and_the_rest_is_looked_at(folder: RunFolder) -> None:
    # Somebody asks for a diagnosis because something is broken.
    (journal,) = folder.path.glob("*/results/generations.jsonl")
    journal.write_text('{"custom_id": 1}\n', encoding="utf-8")
    folder.plan.write_text("no JSON", encoding="utf-8")
    diagnosis = diagnose(gather(folder))
    assert {Path(name).name for name, _ in diagnosis.unread} == {"plan.json", "generations.jsonl"}
    assert [finding.name for finding in diagnosis.findings] == ["restarts"]


def test_an_unknown_run_is_a_wrong_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "nothing", "--experiments_dir", str(tmp_path))
    assert code == 2
    assert "no run 'nothing'" in err


def test_nothing_wrong_is_said_with_what_was_looked_at(
    make_run: Callable[..., RunFolder], trial, questions: list[Item], capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run([trial("brief")], questions)
    manifest = read_json(run.manifest)
    manifest["blocks"]["tiny"]["restarts"] = 0
    write_json(run.manifest, manifest)
    code, out, _ = call(capsys, str(run.path))
    assert code == 0
    assert "nothing wrong was found" in out
    assert "looked at:" in out


def test_a_trial_that_did_not_fit_is_out_of_memory_even_without_a_log(
    make_run: Callable[..., RunFolder], trial, questions: list[Item]
) -> None:
    # A server keeps its log to itself; what it said is in the error that ended the trials, once for all of them.
    error = "tiny does not fit into memory with 4 slots of 2048 tokens; see the log"
    failed = [trial(name, state=TrialState.FAILED, error=error) for name in ("brief", "plain")]
    diagnosis = diagnose(gather(make_run(failed, questions)))
    first = diagnosis.findings[0]
    assert first.name == "out of memory"
    assert [fact.value for fact in first.evidence] == [f"manifest.json: {error}"]
    assert len(first.where) == 2
