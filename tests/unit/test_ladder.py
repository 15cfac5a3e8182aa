from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.errors import UsageError
from overnight.planning.ladder import Ladder, Rung, ladder
from overnight.planning.plan import make_plan
from overnight.planning.trials import expand_trials
from overnight.records import Item
from overnight.runs.resolving import resolve
from overnight.spec.config_root import ConfigRoot, shipped_config
from overnight.spec.execution import Execution
from overnight.spec.model import EngineKind, ModelSpec
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.reading import read_mapping, validate

FIELDS = {
    "name": "m-q6",
    "source": "/nowhere/m-q6.gguf",
    "sha256": "a" * 64,
    "family": "m",
    "params_billion": 8.0,
    "quantization": "Q6_K",
    "context_tokens": 8192,
}


def model(name: str = "m-q6", **changes: Any) -> ModelSpec:
    return ModelSpec.model_validate(FIELDS | {"name": name} | changes)


Q4 = model("m-q4", sha256="b" * 64, quantization="Q4_K_M")
SMALL = model(
    "s-q4", sha256="c" * 64, family="s", params_billion=3.0, quantization="Q4_K_M", context_tokens=1024
)


def labels(found: Ladder) -> list[str]:
    return [rung.label for rung in found.rungs]


def test_requests_at_once_are_given_up_before_context_and_context_before_bits_and_bits_before_the_model() -> (
    None
):
    # DESIGN 7: concurrency -> context -> quantization -> smaller model.
    found = ladder(model(ladder=(Q4, SMALL)), 8192, 2048, Execution(max_concurrent_requests=2))
    assert labels(found) == [
        "m-q6, 2 x 8192 tokens",
        "m-q6, 1 x 8192 tokens",
        "m-q6, 1 x 4096 tokens",
        "m-q6, 1 x 2048 tokens",
        "m-q4, 2 x 8192 tokens",
        "m-q4, 1 x 8192 tokens",
        "m-q4, 1 x 4096 tokens",
        "m-q4, 1 x 2048 tokens",
        "s-q4, 2 x 1024 tokens",
        "s-q4, 1 x 1024 tokens",
    ]


@pytest.mark.parametrize(
    ("may", "expected"),
    [
        ([], ["m-q6, 2 x 4096 tokens"]),
        (["concurrency"], ["m-q6, 2 x 4096 tokens", "m-q6, 1 x 4096 tokens"]),
        (["context"], ["m-q6, 2 x 4096 tokens", "m-q6, 2 x 2048 tokens"]),
        (["quantization"], ["m-q6, 2 x 4096 tokens", "m-q4, 2 x 4096 tokens"]),
        (["model"], ["m-q6, 2 x 4096 tokens", "s-q4, 2 x 1024 tokens"]),
    ],
)
def test_what_may_not_be_given_up_is_not(may: list[str], expected: list[str]) -> None:
    execution = Execution.model_validate({"max_concurrent_requests": 2, "step_down": may})
    assert labels(ladder(model(ladder=(Q4, SMALL)), 4096, 2048, execution)) == expected


def test_only_another_model_makes_another_trial_of_it() -> None:
    wide = Rung(model=model(), slots=4, context_tokens=4096)
    narrow = Rung(model=model("another-name"), slots=1, context_tokens=2048)
    low = Rung(model=Q4, slots=4, context_tokens=4096)
    assert narrow.scope_of_step_from(wide) == "execution"
    assert low.scope_of_step_from(wide) == "experiment"


@given(st.integers(1, 256), st.integers(256, 200_000), st.integers(1, 200_000))
def test_every_rung_takes_less_than_the_one_above_and_still_holds_the_longest_prompt(
    slots: int, context: int, needed: int
) -> None:
    needed = min(needed, context)
    rungs = ladder(model(), context, needed, Execution(max_concurrent_requests=slots)).rungs
    sizes = [rung.slots * rung.context_tokens for rung in rungs]
    assert sizes == sorted(set(sizes), reverse=True)
    assert all(rung.context_tokens >= needed and rung.slots >= 1 for rung in rungs)
    assert rungs[-1].slots == 1
    assert rungs[-1].context_tokens <= max(needed, 256)  # contexts come in steps of 256


def test_an_engine_that_takes_memory_batch_by_batch_has_no_rungs_for_it() -> None:
    # Transformers halves a batch by itself; a lower rung is another way to hold the weights.
    low = model("m-nf4", engine="transformers", source="/nowhere/m", quantization="nf4")
    found = ladder(low.model_copy(update={"quantization": "none", "ladder": (low,)}), 4096, 512, Execution())
    assert [rung.model.quantization for rung in found.rungs] == ["none", "nf4"]


def test_a_run_goes_on_with_the_best_rung_of_the_model_that_it_came_down_to() -> None:
    found = ladder(model(ladder=(Q4,)), 4096, 4096, Execution(max_concurrent_requests=2))
    assert found.rungs[found.first_of("m-q4")].label == "m-q4, 2 x 4096 tokens"
    assert found.first_of("unheard of") == 0


def test_the_ladder_is_no_part_of_what_a_trial_is(make_spec: Callable[..., PromptSweepSpec]) -> None:
    (plain,) = expand_trials(make_spec(sweep={"models": [FIELDS]}))
    (laddered,) = expand_trials(make_spec(sweep={"models": [FIELDS | {"ladder": [Q4.model_dump()]}]}))
    assert plain.slug == laddered.slug


def test_a_block_begins_on_what_was_asked_for(
    make_spec: Callable[..., PromptSweepSpec], items: list[Item]
) -> None:
    (block,) = make_plan(make_spec(), items).blocks
    assert (block.held.model, block.held.slots, block.held.context_tokens) == (
        block.model,
        4,
        block.context_tokens,
    )


@pytest.fixture
def root(project: Path) -> ConfigRoot:
    plain = (project / "models/tiny.yaml").read_text()
    for name, quantization in (("low", "Q3_K_M"), ("lowest", "Q2_K")):
        (project / f"models/{name}.gguf").write_text(f"GGUF {name}")
        text = plain.replace("tiny.gguf", f"{name}.gguf").replace("Q4_0", quantization)
        (project / f"models/{name}.yaml").write_text(text)
    (project / "ladders").mkdir()
    return ConfigRoot(project)


def spec_of(root: ConfigRoot, ladder_of_tiny: str) -> ModelSpec:
    path = root.folder / "models/tiny.yaml"
    path.write_text(path.read_text() + f"ladder: {ladder_of_tiny}\n")
    sweep = root.folder / "sweeps/s.yaml"
    spec = resolve(validate(PromptSweepSpec, read_mapping(sweep, "a sweep"), sweep), root)
    found = spec.experiment.defaults.model
    assert isinstance(found, ModelSpec)
    return found


def test_a_ladder_file_names_models_and_a_model_on_it_starts_on_its_own_rung(root: ConfigRoot) -> None:
    (root.folder / "ladders/l.yaml").write_text("rungs: [lowest, tiny, low]\n")
    found = spec_of(root, "l")
    assert [rung.name for rung in found.stand_ins] == ["low"]
    assert found.stand_ins[0].sha256 is not None  # frozen with the run


def test_a_ladder_may_stand_in_the_model_file(root: ConfigRoot) -> None:
    assert [rung.name for rung in spec_of(root, "[low, lowest]").stand_ins] == ["low", "lowest"]


def test_a_rung_may_be_a_variant_without_a_file_of_its_own(root: ConfigRoot) -> None:
    (root.folder / "ladders/l.yaml").write_text(
        "rungs: [{like: low, name: low-2, quantization: IQ2, source: lowest.gguf}]\n"
    )
    (rung,) = spec_of(root, "l").stand_ins
    assert (rung.name, rung.quantization, rung.engine) == ("low-2", "IQ2", EngineKind.LLAMA_CPP)
    assert Path(rung.source) == root.folder.resolve() / "models/lowest.gguf"  # as if it stood in models/


@pytest.mark.parametrize(
    ("ladder_text", "file", "message"),
    [
        ("m", None, r"no m\.yaml"),
        ("l", "rungs: [unknown]\n", r"no unknown\.yaml"),
        ("l", "rungs: []\n", "rungs: found"),
        ("l", "rungs: [low, low]\n", "'low' stands twice"),
        ("l", "rungs: [{like: low}]\n", "name: missing"),
    ],
)
def test_a_ladder_that_leads_nowhere_is_refused_before_the_night(
    root: ConfigRoot, ladder_text: str, file: str | None, message: str
) -> None:
    if file:
        (root.folder / "ladders/l.yaml").write_text(file)
    with pytest.raises(UsageError, match=message):
        spec_of(root, ladder_text)


@pytest.mark.parametrize("name", ConfigRoot(shipped_config()).names("ladders"))
def test_every_ladder_that_is_shipped_leads_somewhere(name: str) -> None:
    # The first rung of a family is a model file; the presets of the seeds are these families.
    root = ConfigRoot(shipped_config())
    first = read_mapping(shipped_config() / f"ladders/{name}.yaml", "a ladder")["rungs"][0]
    rungs = root.stand_ins(root.model(first))
    assert rungs
    assert len({(rung.source, rung.quantization) for rung in rungs}) == len(rungs)  # each is held otherwise
