"""Which prompt is read for what, and what it is called."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from overnight.activations.points import Component, Point
from overnight.captures.directions import read_directions
from overnight.planning.plan import Plan, make_plan
from overnight.planning.trait_trials import TraitTrial
from overnight.records import Item, ItemType
from overnight.runs.capture_plan import (
    Wanted,
    answered_prompts,
    projected_points,
    raw_points,
    sequence_id,
    wanted_of,
)
from overnight.runs.captured import captured_rows, note_passes, what_is_not_captured
from overnight.runs.trait_vectors import extracted_points, write_vectors
from overnight.spec.trait_capture import TraitCaptureSpec
from overnight.store.files import read_json
from overnight.store.journal import Journal
from overnight.store.run_folder import RunFolder
from overnight.traits.directions import TraitDirections
from overnight.vectors.trait_vectors import StoredVectors

MODEL = {
    "name": "tiny",
    "engine": "transformers",
    "source": "/nowhere/tiny",
    "sha256": "a" * 64,
    "family": "f",
    "instruct": True,
    "params_billion": 0.1,
    "quantization": "fp32",
    "context_tokens": 2048,
}
GROUPS = [
    {"name": name, "format": "prompts", "path": f"/nowhere/{name}.txt", "sha256": digit * 64}
    for name, digit in (("sure", "c"), ("inside", "d"))
]


def spec(**experiment: Any) -> TraitCaptureSpec:
    plain = {
        "models": [MODEL],
        "datasets": GROUPS,
        "traits": [{"name": "doubt", "path": "/nowhere/doubt", "sha256": "e" * 64}],
    }
    return TraitCaptureSpec.model_validate({"name": "t", "experiment": plain | experiment})


def prompt(group: str, text: str) -> Item:
    return Item(dataset=group, item_id=text[0], type=ItemType.CLOSED, question=text, answers=())


ITEMS = [prompt("sure", "How old is the sun?"), prompt("sure", "Why?"), prompt("inside", "Why?")]


def test_a_prompt_of_two_groups_is_read_for_what_either_wants() -> None:
    chosen = spec(internals={"layer": 3, "datasets": ["inside"]}, raw={"layers": [1]})
    plan = make_plan(chosen, ITEMS)
    (block,) = plan.blocks
    wanted = wanted_of(block, chosen.experiment, {"sure": ITEMS[:2], "inside": ITEMS[2:]}, 4)
    raw = (Point(1, Component.RESIDUAL_OUT),)
    assert wanted["How old is the sun?"] == Wanted(raw=raw, internals_of=None, attention_layer=None)
    assert wanted["Why?"] == Wanted(raw=raw, internals_of=3, attention_layer=3)


def test_points_are_every_layer_unless_some_are_named() -> None:
    assert len(projected_points(spec().experiment, 4)) == 12
    assert [
        p.label for p in projected_points(spec(layers=[2], sublayers=["residual_mid"]).experiment, 4)
    ] == ["2.residual_mid"]
    assert raw_points(spec().experiment, 4) == ()
    assert len(raw_points(spec(raw={}).experiment, 4)) == 4


def test_vectors_of_what_enters_a_block_are_those_of_what_left_the_one_before() -> None:
    # The states are the same numbers, so 3 points of 4 layers are 9 different ones.
    points = extracted_points(projected_points(spec().experiment, 4))
    assert len(points) == 9
    assert [p.label for p in points[:3]] == ["0.residual_in", "0.residual_mid", "0.residual_out"]
    assert all(p.component is not Component.RESIDUAL_IN for p in points[1:])


BARE = Wanted(raw=(), internals_of=None, attention_layer=None)
ASKED: dict[str, Any] = {
    "messages": ({"role": "user", "content": "Why?"},),
    "reply_ids": (5, 6),
    "wanted": BARE,
    "points": (Point(0, Component.RESIDUAL_OUT),),
    "directions_digest": "v1",
    "attention_summary": False,
    "raw_dtype": "bfloat16",
}


@pytest.mark.parametrize(
    "change",
    [
        {"messages": ({"role": "user", "content": "Why not?"},)},
        {"reply_ids": (5, 7)},
        {"wanted": Wanted(raw=(), internals_of=3, attention_layer=None)},
        {"wanted": Wanted(raw=(Point(0, Component.RESIDUAL_OUT),), internals_of=None, attention_layer=None)},
        {"points": (Point(1, Component.RESIDUAL_OUT),)},
        {"directions_digest": "v2"},
        {"attention_summary": True},
    ],
)
def test_what_changes_the_content_of_a_file_changes_its_name(change: dict[str, Any]) -> None:
    assert sequence_id(**ASKED | change) != sequence_id(**ASKED)


def test_a_dtype_that_nothing_is_kept_in_changes_no_name() -> None:
    assert sequence_id(**ASKED | {"raw_dtype": "float16"}) == sequence_id(**ASKED)


@pytest.fixture
def planned(tmp_path: Path) -> tuple[RunFolder, Plan, TraitTrial]:
    plan = make_plan(spec(), ITEMS)
    trial = plan.trials[0]
    assert isinstance(trial, TraitTrial)
    return RunFolder(tmp_path), plan, trial


def custom_id(item: Item) -> str:
    return f"{item.key}|control|0.0|0|closed"


def test_a_prompt_without_a_reply_is_not_read(planned: tuple[RunFolder, Plan, TraitTrial]) -> None:
    folder, plan, trial = planned
    tokens = [{"text": "So", "logprob": -1.0, "id": 7}, {"text": "!", "logprob": -1.0, "id": 9, "ends": True}]
    with Journal(folder.trial(trial.slug).journal) as journal:
        journal.append(
            [
                {"custom_id": custom_id(ITEMS[0]), "status": "error", "text": None, "tokens": None},
                {"custom_id": custom_id(ITEMS[1]), "status": "ok", "text": "So!", "tokens": tokens},
            ]
        )
    failed, answered = answered_prompts(folder.trial(trial.slug), plan, trial)
    assert failed.reply_ids == ()
    assert answered.reply_ids == (7, 9)  # the token that ended the reply was read by nobody, and is read now


def test_a_capture_counts_where_its_file_is_there(planned: tuple[RunFolder, Plan, TraitTrial]) -> None:
    folder, _, trial = planned
    there, gone, failed = (
        {"custom_id": str(n), "status": "ok", "path": f"states/{n}", "model": "tiny", "error": None}
        for n in range(3)
    )
    failed |= {"status": "error", "path": None, "error": "states that are no numbers"}
    with Journal(folder.trial(trial.slug).capture_journal) as journal:
        journal.append([there, gone, failed])
    (folder.path / "states").mkdir()
    (folder.path / "states" / "0").write_bytes(b"x")
    assert list(captured_rows(folder, trial.slug)) == ["0"]
    assert captured_rows(folder, trial.slug, "another") == {}
    said = what_is_not_captured(folder, trial.slug, 3)
    assert said is not None
    assert said.startswith("2 of 3 prompts are not captured: states that are no numbers")


def test_what_reading_took_is_added_up_over_stretches(planned: tuple[RunFolder, Plan, TraitTrial]) -> None:
    folder, _, trial = planned
    files = folder.trial(trial.slug)
    note_passes(files, 0, 0.0, None)
    assert read_json(files.capture_facts)["largest_probe_difference"] is None  # nothing was probed: not 0
    note_passes(files, 3, 1.5, 2e-6)
    note_passes(files, 2, 0.5, 1e-6)
    assert read_json(files.capture_facts) == {"passes": 5, "seconds": 2.0, "largest_probe_difference": 2e-6}


def test_a_trait_whose_best_point_was_not_kept_is_projected_at_those_that_were(tmp_path: Path) -> None:
    points = ("0.residual_out", "1.residual_mid", "1.residual_out")
    directions = np.eye(3, dtype=np.float32)
    found = StoredVectors(
        directions=TraitDirections(
            trait="doubt", points=points, directions=directions, chosen="1.residual_mid"
        ),
        validity={},
        undefined={},
        folder=tmp_path,
        was_cached=True,
    )
    kept = (Point(0, Component.RESIDUAL_OUT), Point(1, Component.RESIDUAL_OUT))
    settings = spec().experiment.vectors
    write_vectors(tmp_path / "each", [found], kept, settings)
    each = read_directions(tmp_path / "each" / "directions.safetensors")
    assert each.points == ("0.residual_out", "1.residual_out")
    assert (each.vectors[each.group_of_point[1], 0] == directions[2]).all()
    write_vectors(tmp_path / "one", [found], kept, settings.model_copy(update={"applied": "one"}))
    one = read_directions(tmp_path / "one" / "directions.safetensors")
    assert (one.vectors[one.group_of_point[0], 0] == directions[1]).all()
