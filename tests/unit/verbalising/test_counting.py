"""How many draws a trial comes to, when its model is needed, and what its draws cost."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from overnight.errors import StoreError
from overnight.runs.expected import expected_draws, note_vectors
from overnight.runs.generating import count_draws
from overnight.runs.stepping import begin_on_rung
from overnight.runs.trials import is_finished, needs_model
from overnight.runs.verbalising import VerbalisingWork, verbalise
from overnight.runs.verbalising_costs import write_verbalising_costs
from overnight.spec.pricing import PricingSpec
from overnight.spec.steps import StepRange
from overnight.store.manifest import (
    BlockRecord,
    RunManifest,
    TrialRecord,
    TrialState,
    update_manifest,
    write_manifest,
)
from overnight.vectors.vector_set import MARKER
from tests.unit.verbalising.made_up import MODEL, FakeVerbaliser, spec, work

ASKS, BUILDS = StepRange(), StepRange.choose(None, None, "build")
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def one(tmp_path: Path) -> VerbalisingWork:
    """Return work whose run has a manifest, and whose vectors lie where it says."""
    found = work(tmp_path)
    write_manifest(
        found.folder,
        RunManifest(
            run_id="r1",
            kind="best-of-k-sweep",
            name="t",
            fingerprint=found.plan.fingerprint,
            created=NOW,
            updated=NOW,
            execution={},
            environment={},
            blocks={"tiny": BlockRecord(model="tiny", digest="a" * 64)},
            trials={
                trial.slug: TrialRecord(fingerprint=trial.fingerprint, requested=trial.requested())
                for trial in found.plan.trials
            },
        ),
    )
    marker = found.folder.path / "vectors" / "tiny-l1" / MARKER
    marker.parent.mkdir(parents=True)
    marker.write_text("{}")
    return found


def draw(one: VerbalisingWork) -> None:
    asyncio.run(verbalise(one, [FakeVerbaliser()]))


def needed(one: VerbalisingWork, steps: StepRange = ASKS) -> bool:
    return needs_model(one.folder, one.plan, one.trial, steps)


def test_what_was_planned_is_an_upper_bound_until_the_vectors_are_read(one: VerbalisingWork) -> None:
    assert expected_draws(one.folder, one.plan, one.trial) == 5 * 2 * 4
    note_vectors(one.folder, one.trial, "vectors/tiny-l1", 7, 2)  # two texts were too short
    assert expected_draws(one.folder, one.plan, one.trial) == 7 * 4
    one.files.vectors.unlink()
    assert expected_draws(one.folder, one.plan, one.trial) == one.plan.requests_per_trial[one.trial.slug]


def test_a_damaged_note_of_the_vectors_is_named(one: VerbalisingWork) -> None:
    one.files.vectors.write_text("{}")
    with pytest.raises(StoreError, match=r"vectors\.json: says no number of vectors"):
        expected_draws(one.folder, one.plan, one.trial)


def test_a_model_is_needed_for_draws_and_for_vectors_and_for_nothing_else(one: VerbalisingWork) -> None:
    assert needed(one)
    assert not needed(one, BUILDS)
    assert not needed(one, StepRange.choose("score", None, None))
    draw(one)
    assert not needed(one)
    (one.folder.path / "vectors" / "tiny-l1" / MARKER).unlink()
    assert needed(one)
    assert needed(one, BUILDS)


def test_a_trial_is_finished_with_the_draws_of_the_vectors_that_there_are(one: VerbalisingWork) -> None:
    draw(one)
    counts = count_draws(one.folder, one.plan, one.trial)
    assert counts.expected == counts.done == 40
    update_manifest(one.folder, lambda m: m.with_trial(one.trial.slug, state=TrialState.DONE, counts=counts))
    assert is_finished(one.folder, one.plan, one.trial.slug)
    (gone,) = one.files.reconstructions.iterdir()
    gone.rename(gone.with_suffix(".gone"))
    assert not is_finished(one.folder, one.plan, one.trial.slug)
    gone.with_suffix(".gone").rename(gone)
    note_vectors(one.folder, one.trial, "vectors/tiny-l1", 12, 0)
    assert not is_finished(one.folder, one.plan, one.trial.slug)


def test_what_another_model_has_drawn_is_set_aside_whole(one: VerbalisingWork) -> None:
    draw(one)
    (one.files.reconstructions / "00000002.safetensors").unlink()  # the trial is not finished
    other = spec(models=[MODEL | {"name": "other", "sha256": "b" * 64}]).experiment.models[0]
    rung = replace(one.block.held, model=other)
    below = replace(one.block, ladder=replace(one.block.ladder, rungs=(rung,)))
    begin_on_rung(one.folder, one.plan, below, one.trial)
    assert not one.files.journal.exists()
    assert not one.files.chunks.exists()
    assert not one.files.reconstructions.exists()
    assert sorted(path.name for path in one.files.set_aside.iterdir()) == ["01-tiny", "01-tiny.jsonl"]
    assert (one.files.set_aside / "01-tiny" / "chunks.jsonl").is_file()


def test_costs_are_those_of_the_chunks(one: VerbalisingWork) -> None:
    draw(one)
    write_verbalising_costs(one.folder, one.trial, PricingSpec(), 2.5)
    costs = json.loads(one.files.costs.read_text())
    assert costs["completion_tokens"] == 40 * 3
    assert costs["prompt_tokens"] == 40 * 2  # that the encoder read
    assert costs["usd_if_hosted"] is None
    assert costs["inference_s"] == 2.5
    assert costs["verbalising"]["n_vectors"] == 10
    assert costs["verbalising"]["seconds_drawing"] == 0.5  # one chunk of 16 vectors at most
    assert costs["verbalising"]["halvings"] == 1
