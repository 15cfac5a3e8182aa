"""The grid of a best-of-K sweep, and what makes two of its trials the same."""

from typing import Any

import pytest
from pydantic import ValidationError

from overnight.errors import UsageError
from overnight.planning.best_of_k_trials import BestOfKTrial
from overnight.planning.capture_bytes import Widths
from overnight.planning.plan import make_plan
from overnight.planning.trials import expand_trials, experiment_fingerprint
from tests.unit.verbalising.made_up import LEARNED, LENS, MODEL, MORE, TEXTS, spec, text

ITEMS = [text("texts", 0), text("texts", 1), text("more", 0)]
PATCHED = {"name": "patched", "layer": 1, "decoder": {"kind": "patched"}, "fit": {"datasets": [LEARNED]}}
WIDTHS = Widths(n_layers=4, hidden=8, heads=2, queries=8, keys=4, values=4, ffn=16)


def trials(**experiment: Any) -> list[BestOfKTrial]:
    return [each for each in make_plan(spec(**experiment), ITEMS).trials if isinstance(each, BestOfKTrial)]


def test_every_lens_dataset_and_temperature_is_a_trial_of_one_load() -> None:
    plan = make_plan(
        spec(lenses=[LENS, PATCHED], datasets=[TEXTS, MORE], sampling={"temperatures": [0.8, 1.2]}), ITEMS
    )
    assert [(trial.label, trial.temps) for trial in plan.trials] == [
        ("soft on texts", (0.8,)),
        ("soft on texts", (1.2,)),
        ("soft on more", (0.8,)),
        ("soft on more", (1.2,)),
        ("patched on texts", (0.8,)),
        ("patched on texts", (1.2,)),
        ("patched on more", (0.8,)),
        ("patched on more", (1.2,)),
    ]
    assert len(plan.blocks) == 1
    assert len({trial.slug for trial in plan.trials}) == len(plan.trials)


def test_a_folder_is_named_by_what_is_drawn_in_it() -> None:
    (trial,) = trials()
    assert trial.slug == f"tiny-soft-texts-t1-k4-{trial.fingerprint[:8]}"


def test_names_that_are_too_long_together_are_refused_before_a_folder_is_made() -> None:
    # Each may have 80 characters, and a file's name 255 bytes at most.
    with pytest.raises(
        UsageError, match=r"has 2\d\d characters, wanted 230 at most; give its model, dataset"
    ):
        trials(
            models=[MODEL | {"name": "m" * 80}],
            lenses=[LENS | {"name": "l" * 80}],
            datasets=[TEXTS | {"name": "d" * 80}],
        )


def test_a_plan_has_every_draw_that_there_can_be() -> None:
    # Two texts, two positions of each, the largest K; a text that is too short makes it fewer.
    plan = make_plan(spec(positions={"per_sequence": 2}), ITEMS)
    assert plan.requests_per_trial == {plan.trials[0].slug: 2 * 2 * 4}
    most = make_plan(spec(positions={"per_sequence": 2}, max_vectors=3), ITEMS)
    assert most.requests_per_trial == {most.trials[0].slug: 3 * 4}


def test_what_states_take_on_disk_is_announced() -> None:
    # Two vectors of 8 numbers, and of each the reconstructions of 4 draws; in half as many bytes it is half as much.
    def states(kept: str) -> int:
        known, unknown = (
            make_plan(spec(kept=kept), ITEMS, widths=widths) for widths in ({"tiny": WIDTHS}, {})
        )
        return known.bytes_on_disk - unknown.bytes_on_disk

    assert states("float32") == 2 * (1 + 4) * 8 * 4
    assert states("bfloat16") == 2 * (1 + 4) * 8 * 2


@pytest.mark.parametrize(
    "change",
    [
        {"k_values": [1, 4, 8]},
        {"positions": {"policy": "last"}},
        {"positions": {"per_sequence": 2}},
        {"max_vectors": 7},
        {"limit_items": 2},
        {"encode": "tokens"},
        {"kept": "bfloat16"},
        {"sampling": {"temperatures": [0.9]}},
        {"sampling": {"top_p": 0.9}},
        {"sampling": {"top_k": 9}},
        {"sampling": {"seed": 9}},
        {"lenses": [LENS | {"layer": 2}]},
        {"lenses": [LENS | {"text_tokens": 6}]},
        {"lenses": [LENS | {"decoder": {"kind": "soft_prompt", "soft_tokens": 2}}]},
        {"lenses": [LENS | {"fit": {"datasets": [LEARNED | {"sha256": "f" * 64}]}}]},
        {"lenses": [LENS | {"fit": {"datasets": [LEARNED], "steps": 7}}]},
        {"lenses": [{"name": "soft", "layer": 1, "path": "/nowhere/lens", "sha256": "f" * 64}]},
        {"models": [MODEL | {"sha256": "b" * 64}]},
        {"datasets": [TEXTS | {"sha256": "b" * 64}]},
    ],
)
def test_whatever_changes_a_draw_is_another_trial(change: dict[str, Any]) -> None:
    assert {t.fingerprint for t in trials(**change)}.isdisjoint(t.fingerprint for t in trials())


@pytest.mark.parametrize("change", [{"k_values": [4, 2]}, {"statistics": {"bootstrap": False}}])
def test_what_is_said_of_the_same_draws_makes_another_experiment_of_the_same_trials(
    change: dict[str, Any],
) -> None:
    assert [t.fingerprint for t in trials(**change)] == [t.fingerprint for t in trials()]
    assert experiment_fingerprint(spec(**change)) != experiment_fingerprint(spec())


@pytest.mark.parametrize(
    "change",
    [
        {"lenses": [LENS | {"name": "other", "description": "for people"}]},
        {"lenses": [LENS | {"fit": {"datasets": [LEARNED | {"path": "/elsewhere/learned.txt"}]}}]},
        {"datasets": [TEXTS | {"path": "/elsewhere/texts.txt"}]},
    ],
)
def test_names_and_places_of_the_same_lens_and_texts_make_no_other_trial(change: dict[str, Any]) -> None:
    assert [t.fingerprint for t in trials(**change)] == [t.fingerprint for t in trials()]


def test_how_it_is_carried_out_is_no_part_of_it() -> None:
    # Whatever the batches and the number of processes, the draws are the same.
    other = spec({"num_processes": 3, "lens": {"max_generation_batch_size": 2, "vectors_per_chunk": 1}})
    assert experiment_fingerprint(other) == experiment_fingerprint(spec())


def test_an_engine_that_shows_no_activations_is_refused_before_anything_is_loaded() -> None:
    served = MODEL | {"engine": "llama_cpp", "quantization": "Q4_0", "source": "/nowhere/t.gguf"}
    with pytest.raises(UsageError, match=r"tiny: engine llama_cpp shows no activations; name a model"):
        expand_trials(spec(models=[served]))


def test_a_rehearsal_is_refused_for_there_is_nothing_to_say() -> None:
    with pytest.raises(UsageError, match="dry_run: there are no activations without a model"):
        expand_trials(spec(dry_run=True))


@pytest.mark.parametrize(
    ("lens", "message"),
    [
        (LENS | {"layer": 4}, r"lens soft: layer: found 4, wanted one of the 4 layers of tiny, 0 to 3"),
        (PATCHED | {"decoder": {"kind": "patched", "layer": 9}}, r"lens patched: decoder.layer: found 9"),
    ],
)
def test_a_layer_that_the_model_lacks_is_refused_before_it_is_loaded(
    lens: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(spec(lenses=[lens]), ITEMS, widths={"tiny": WIDTHS})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampling": {"temperatures": [0.0]}}, "all texts of a vector are one"),
        ({"lenses": [LENS, LENS]}, "names a lens twice"),
        ({"k_values": [1, 1]}, "stands twice"),
        ({"k_values": [0, 4]}, "greater than 0"),
    ],
)
def test_a_mistake_in_the_config_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(**change)
