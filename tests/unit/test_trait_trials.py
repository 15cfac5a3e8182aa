"""The grid of a trait capture, and what makes two of its trials the same."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from overnight.datasets.reading import read_items
from overnight.errors import UsageError
from overnight.planning.capture_bytes import Widths, capture_bytes
from overnight.planning.plan import make_plan
from overnight.planning.requests import part_requests
from overnight.planning.trait_trials import TraitTrial
from overnight.planning.trials import expand_trials, experiment_fingerprint
from overnight.records import Item, ItemType
from overnight.spec.dataset import DatasetSpec
from overnight.spec.trait_capture import TraitCaptureSpec

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
TRAITS = [{"name": "doubt", "path": "/nowhere/doubt", "sha256": "e" * 64}]


def spec(**experiment: Any) -> TraitCaptureSpec:
    plain = {"models": [MODEL], "datasets": GROUPS, "traits": TRAITS}
    return TraitCaptureSpec.model_validate({"name": "t", "experiment": plain | experiment})


def prompt(group: str, text: str) -> Item:
    return Item(dataset=group, item_id=f"{group}-{text}", type=ItemType.CLOSED, question=text, answers=())


ITEMS = [prompt("sure", "How old is the sun?"), prompt("sure", "Why?"), prompt("inside", "Why?")]


def trials(**experiment: Any) -> list[TraitTrial]:
    return [trial for trial in make_plan(spec(**experiment), ITEMS).trials if isinstance(trial, TraitTrial)]


def test_every_group_and_every_length_is_a_trial_of_one_load() -> None:
    plan = make_plan(spec(max_new_tokens=[20, 50]), ITEMS)
    assert [(t.label, t.token_limit(ItemType.CLOSED)) for t in plan.trials] == [
        ("sure", 20),
        ("sure", 50),
        ("inside", 20),
        ("inside", 50),
    ]
    assert len({t.slug for t in plan.trials}) == 4
    assert len(plan.blocks) == 1


def test_a_prompt_of_two_groups_is_one_request() -> None:
    # Whatever temperature: were the seed made of the item's key, the groups would get two replies.
    plan = make_plan(spec(sampling={"temperature": 0.7}), ITEMS)
    asked = [
        request
        for trial in plan.trials
        for part in plan.parts_of(trial)
        for request in part_requests(trial, part, plan.conditions)
        if request.messages[-1]["content"] == "Why?"
    ]
    assert len(asked) == 2
    assert len({request.digest("a" * 64) for request in asked}) == 1
    assert all(request.tokens for request in asked)


def test_a_system_prompt_stands_in_front_of_every_prompt() -> None:
    (first, _) = trials(system_prompt="Be brief.")
    assert [m["role"] for m in first.messages(ITEMS[0], next(iter(make_plan(spec(), ITEMS).conditions)))] == [
        "system",
        "user",
    ]
    assert first.beginning(next(iter(make_plan(spec(), ITEMS).conditions))) == "Be brief."


def test_everything_inside_a_layer_is_for_the_groups_that_are_named() -> None:
    sure, inside = trials(internals={"layer": 3, "datasets": ["inside"]})
    assert sure.internals is None
    assert inside.internals is not None
    assert inside.internals.layer == 3


@pytest.mark.parametrize(
    "change",
    [
        {"traits": [TRAITS[0] | {"sha256": "f" * 64}]},
        {"vectors": {"method": "probe"}},
        {"vectors": {"positions": "mean"}},
        {"sublayers": ["residual_out"]},
        {"layers": [1, 2]},
        {"attention_summary": True},
        {"raw": {}},
        {"internals": {"layer": 3, "datasets": ["inside"]}},
        {"sampling": {"temperature": 0.7}},
        {"max_new_tokens": [51]},
        {"system_prompt": "Be brief."},
    ],
)
def test_whatever_changes_a_number_is_another_experiment(change: dict[str, Any]) -> None:
    assert experiment_fingerprint(spec(**change)) != experiment_fingerprint(spec())
    assert {t.fingerprint for t in trials(**change)}.isdisjoint(t.fingerprint for t in trials())


def test_where_a_trait_lies_is_not_part_of_what_it_is() -> None:
    moved = spec(traits=[TRAITS[0] | {"path": "/elsewhere/doubt"}])
    assert experiment_fingerprint(moved) == experiment_fingerprint(spec())


def test_an_engine_that_shows_no_activations_is_refused_before_anything_is_loaded() -> None:
    served = MODEL | {"engine": "llama_cpp", "quantization": "Q4_0", "source": "/nowhere/t.gguf"}
    with pytest.raises(UsageError, match=r"tiny: engine llama_cpp shows no activations; name a model"):
        expand_trials(spec(models=[served]))


def test_a_rehearsal_is_refused_for_there_is_nothing_to_read() -> None:
    with pytest.raises(UsageError, match="dry_run: there are no activations without a model"):
        expand_trials(spec(dry_run=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"internals": {"layer": 3, "datasets": ["insied"]}}, "insied.*is no dataset of the experiment"),
        ({"vectors": {"positions": "response[:x]"}}, "wanted response"),
        ({"vectors": {"layer": "beast"}}, "wanted best, or the number of a layer"),
        ({"traits": ["doubt", "doubt"]}, "names a trait twice"),
        ({"max_new_tokens": [20, 20]}, "stands twice"),
    ],
)
def test_a_mistake_in_the_config_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises((ValidationError, UsageError), match=message):
        spec(**change)


def test_a_file_of_prompts_has_one_a_line_and_an_edit_moves_no_other(tmp_path: Path) -> None:
    file = tmp_path / "sure.txt"
    file.write_text("# what is sure\n\nHow old is  the sun?\nWhy?\n", encoding="utf-8")
    dataset = DatasetSpec(name="sure", format="prompts", path=file)
    first = read_items(dataset)
    assert [item.question for item in first] == ["How old is the sun?", "Why?"]
    file.write_text("What now?\nWhy?\n", encoding="utf-8")
    assert read_items(dataset)[1].item_id == first[1].item_id


def test_raw_states_of_every_layer_are_announced_in_bytes() -> None:
    # Four layers of 8 numbers of 2 bytes for each token; a token is taken to be 2 bytes of text.
    widths = Widths(n_layers=4, hidden=8, heads=2, queries=8, keys=4, values=4, ffn=16)
    plain, raw = (
        make_plan(spec(**change), ITEMS, widths={"tiny": widths}).trials[0] for change in ({}, {"raw": {}})
    )
    n_tokens = sum(len(item.question) // 2 + 64 + 50 for item in ITEMS[:2])
    without = capture_bytes(plain, ITEMS[:2], spec().experiment, widths)
    assert capture_bytes(raw, ITEMS[:2], spec(raw={}).experiment, widths) - without == n_tokens * 4 * 8 * 2
