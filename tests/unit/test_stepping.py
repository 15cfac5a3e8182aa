from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.requests import part_requests
from overnight.runs.opening import create_run, load_plan
from overnight.runs.resolving import resolve
from overnight.runs.stepping import begin_on_rung, note_step, on_its_rung
from overnight.spec.config_root import ConfigRoot
from overnight.spec.execution import Execution
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.reading import read_mapping, validate
from overnight.spec.run_options import RunOptions
from overnight.store.journal import Journal, finished_ids, read_rows
from overnight.store.manifest import read_manifest
from overnight.store.run_folder import RunFolder


@pytest.fixture
def sweep(project: Path) -> PromptSweepSpec:
    """Return a resolved sweep over a model that has a stand-in."""
    plain = (project / "models/tiny.yaml").read_text()
    (project / "models/low.gguf").write_text("GGUF low")
    (project / "models/low.yaml").write_text(plain.replace("tiny.gguf", "low.gguf"))
    (project / "models/tiny.yaml").write_text(plain + "ladder: [low]\n")
    path = project / "sweeps/s.yaml"
    return resolve(validate(PromptSweepSpec, read_mapping(path, "a sweep"), path), ConfigRoot(project))


@pytest.fixture
def run(sweep: PromptSweepSpec, tmp_path: Path) -> tuple[RunFolder, Plan, ModelBlock]:
    folder = create_run(sweep, RunOptions(run_id="r", experiments_dir=tmp_path))
    plan = load_plan(folder, sweep)
    (block,) = plan.blocks
    return folder, plan, block


def answers(folder: RunFolder, plan: Plan, block: ModelBlock, n: int | None = None) -> None:
    """Journal the first answers of the block's trial, as the model that is held would give them."""
    (trial,) = block.trials
    requests = [r for part in plan.parts for r in part_requests(trial, part, plan.conditions)]
    row: dict[str, Any] = {
        "status": "ok",
        "finish_reason": "stop",
        "model": block.held.model.name,
        "model_digest": block.held.model.sha256,
    }
    with Journal(folder.trial(trial.slug).journal) as journal:
        journal.append([row | {"custom_id": request.custom_id} for request in requests[:n]])


def on_the_last_rung(folder: RunFolder, block: ModelBlock) -> ModelBlock:
    last = replace(block, rung=len(block.ladder.rungs) - 1)
    note_step(folder, block, block.held, last.held, "it said 'failed to allocate'")
    return on_its_rung(folder, block)


def test_a_run_goes_on_where_it_came_down_to(run: tuple[RunFolder, Plan, ModelBlock]) -> None:
    folder, _, block = run
    assert on_its_rung(folder, block) == block
    assert on_the_last_rung(folder, block).held == block.ladder.rungs[-1]
    (step,) = read_manifest(folder).blocks["tiny"].rung_history
    assert (step["from"], step["to"]) == (block.held.label, block.ladder.rungs[-1].label)
    assert step["changes"] == "experiment"


def test_other_settings_find_the_best_rung_of_the_same_model(
    sweep: PromptSweepSpec, run: tuple[RunFolder, Plan, ModelBlock]
) -> None:
    # Resumed with three requests at once, the rung that was noted (four) is on no ladder; its model is.
    folder, _, block = run
    first_of_low = block.ladder.rungs[block.ladder.first_of("low")]
    note_step(folder, block, block.held, first_of_low, "it did not fit")
    other = sweep.model_copy(update={"execution": Execution(max_concurrent_requests=3)})
    (again,) = load_plan(folder, other).blocks
    held = on_its_rung(folder, again).held
    assert (first_of_low.slots, held.model.name, held.slots) == (4, "low", 3)


def test_rows_of_the_model_above_are_put_away_and_the_trial_begins_again(
    run: tuple[RunFolder, Plan, ModelBlock],
) -> None:
    folder, plan, block = run
    (trial,) = block.trials
    answers(folder, plan, block, 3)
    low = on_the_last_rung(folder, block)
    begin_on_rung(folder, plan, low, trial)
    files = folder.trial(trial.slug)
    assert finished_ids(files.journal) == set()
    (kept,) = files.set_aside.glob("*.jsonl")
    assert kept.name == "01-tiny.jsonl"
    assert len(list(read_rows(kept))) == 3  # nothing is lost
    assert len(read_manifest(folder).trials[trial.slug].rung_history) == 1


def test_rows_of_the_same_model_stay_whatever_else_was_given_up(
    run: tuple[RunFolder, Plan, ModelBlock],
) -> None:
    folder, plan, block = run
    (trial,) = block.trials
    answers(folder, plan, block, 3)
    begin_on_rung(folder, plan, replace(block, rung=1), trial)  # fewer requests at once
    assert len(finished_ids(folder.trial(trial.slug).journal)) == 3


def test_a_trial_that_has_all_its_answers_keeps_them(run: tuple[RunFolder, Plan, ModelBlock]) -> None:
    folder, plan, block = run
    (trial,) = block.trials
    answers(folder, plan, block)
    begin_on_rung(folder, plan, on_the_last_rung(folder, block), trial)
    assert len(finished_ids(folder.trial(trial.slug).journal)) == 12
    assert not folder.trial(trial.slug).set_aside.exists()
