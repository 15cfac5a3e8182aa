from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from overnight.errors import UsageError
from overnight.planning.identity import FINGERPRINT_VERSION
from overnight.planning.plan import make_plan, plan_record
from overnight.planning.prompt_trials import PromptTrial as Trial
from overnight.planning.trials import expand_trials, experiment_fingerprint
from overnight.prompting.messages import template_digest
from overnight.records import Arm, Condition, Item, ItemType
from overnight.runs.opening import config_text, load_spec
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.store.files import write_text
from overnight.store.run_folder import RunFolder

Maker = Callable[..., PromptSweepSpec]
DEFAULT_MODEL = {
    "name": "tiny",
    "source": "/nowhere/tiny.gguf",
    "sha256": "a" * 64,
    "family": "f",
    "params_billion": 0.1,
    "quantization": "Q4_0",
    "context_tokens": 2048,
}
DEFAULT_PROMPTS = {
    "name": "brief",
    "control": "You answer questions.",
    "treatment": "You answer in a word or two.",
}
DATASETS = [
    {"name": "facts", "type": "closed", "path": "/nowhere/facts.jsonl", "sha256": "c" * 64},
    {"name": "passages", "type": "open", "path": "/nowhere/passages.jsonl", "sha256": "d" * 64},
]
HUB = {"name": "sums", "hub": "hf:someone/svamp:test@v1", "max_items": 40, "sha256": "e" * 64}
TABLE = {
    "name": "table",
    "path": "/nowhere/table.csv",
    "format": "csv",
    "columns": {"id": "key", "separator": "|"},
    "sha256": "f" * 64,
}
ANY_TEXT = st.text(
    st.characters(exclude_categories=("Cs",)), max_size=30
)  # a specification refuses lone surrogates
ANY_TEXT = st.text(
    st.characters(exclude_categories=("Cs",)), max_size=30
)  # a specification refuses lone surrogates


def model(name: str, sha256: str | None = None, **fields: Any) -> dict[str, Any]:
    return DEFAULT_MODEL | {"name": name, "sha256": sha256 or f"{sum(name.encode()):064x}"} | fields


def prompts(name: str, treatment: str | None = None) -> dict[str, Any]:
    return DEFAULT_PROMPTS | {"name": name, "treatment": treatment or f"As {name} would say it."}


def only(spec: PromptSweepSpec) -> Trial:
    (trial,) = expand_trials(spec)
    return trial


def test_the_grid_is_the_product_in_the_order_of_the_config(make_spec: Maker) -> None:
    spec = make_spec(
        sweep={
            "models": [model("b"), model("a")],
            "prompt_sets": [prompts("q"), prompts("p")],
            "top_p": [0.9, 1],
            "top_k": [20, 0],
            "max_new_tokens": {"closed": [8, 4], "open": [16]},
        }
    )
    cells = [
        (t.model.name, t.prompt_set.name, t.top_p, t.top_k, t.max_new_tokens.closed, t.max_new_tokens.open)
        for t in expand_trials(spec)
    ]
    assert cells == list(product("ba", "qp", [0.9, 1.0], [20, 0], [8, 4], [16]))


@settings(max_examples=40)
@given(st.data())
def test_there_are_as_many_trials_as_the_axes_multiply_to(make_spec: Maker, data: st.DataObject) -> None:
    sizes = data.draw(st.tuples(*[st.integers(1, 3)] * 6))
    n_models, n_prompts, n_top_p, n_top_k, n_closed, n_open = sizes
    spec = make_spec(
        sweep={
            "models": [model(f"m{n}") for n in range(n_models)],
            "prompt_sets": [prompts(f"p{n}") for n in range(n_prompts)],
            "temps": [0, 0.7],
            "top_p": [1 - n / 10 for n in range(n_top_p)],
            "top_k": list(range(n_top_k)),
            "max_new_tokens": {"closed": list(range(1, n_closed + 1)), "open": list(range(1, n_open + 1))},
        }
    )
    trials = expand_trials(spec)
    assert len(trials) == n_models * n_prompts * n_top_p * n_top_k * n_closed * n_open
    assert len({trial.slug for trial in trials}) == len(trials)
    assert len({trial.fingerprint for trial in trials}) == len(trials)


def test_temperatures_are_arms_inside_a_trial(make_spec: Maker) -> None:
    trial = only(make_spec(sweep={"temps": [0.7, 0]}))
    assert trial.arms(Condition) == (
        Arm(condition=Condition.CONTROL, temperature=0.7),
        Arm(condition=Condition.CONTROL, temperature=0.0),
        Arm(condition=Condition.TREATMENT, temperature=0.7),
        Arm(condition=Condition.TREATMENT, temperature=0.0),
    )


def test_there_is_one_draw_at_temperature_zero(make_spec: Maker) -> None:
    trial = only(make_spec(sampling={"samples_per_item": 5}))
    assert (trial.draws(0.0), trial.draws(0.7)) == (1, 5)


def test_each_type_of_item_has_its_own_token_limit(make_spec: Maker) -> None:
    trial = only(make_spec(defaults={"max_new_tokens": {"closed": 3, "open": 9}}))
    assert (trial.token_limit(ItemType.CLOSED), trial.token_limit(ItemType.OPEN)) == (3, 9)


def test_what_the_sweep_does_not_vary_comes_from_the_defaults(make_spec: Maker) -> None:
    defaults = {"temps": [0.3], "top_p": 0.8, "top_k": 7, "max_new_tokens": {"closed": 5, "open": 6}}
    trial = only(make_spec(defaults=defaults))
    assert (trial.temps, trial.top_p, trial.top_k) == ((0.3,), 0.8, 7)
    assert (trial.max_new_tokens.closed, trial.max_new_tokens.open) == (5, 6)


def test_a_list_of_the_sweep_wins_over_the_default_even_where_it_is_zero(make_spec: Maker) -> None:
    spec = make_spec(
        defaults={"temps": [0.3], "top_p": 0.8, "top_k": 7}, sweep={"temps": [0], "top_p": [1], "top_k": [0]}
    )
    trial = only(spec)
    assert (trial.temps, trial.top_p, trial.top_k) == ((0.0,), 1.0, 0)


def test_explicit_trials_win_over_the_sweep(make_spec: Maker) -> None:
    spec = make_spec(
        sweep={"top_k": [1, 2, 3]},
        trials=[{"top_k": 0, "temps": [0.5]}, {"model": model("other"), "top_p": 0.5}],
    )
    assert [(t.model.name, t.top_k, t.top_p, t.temps) for t in expand_trials(spec)] == [
        ("tiny", 0, 1.0, (0.5,)),
        ("other", 50, 0.5, (0.0,)),
    ]


def test_trials_of_one_model_come_together_so_that_it_is_loaded_once(
    make_spec: Maker, items: list[Item]
) -> None:
    a, b = model("a"), model("b")
    spec = make_spec(trials=[{"model": m, "top_k": k} for k, m in enumerate([a, b, a, b])])
    assert [(t.model.name, t.top_k) for t in expand_trials(spec)] == [("a", 0), ("a", 2), ("b", 1), ("b", 3)]
    assert [block.model.name for block in make_plan(spec, items).blocks] == ["a", "b"]
    assert plan_record(make_plan(spec, items))["n_loads"] == 2


def test_several_processes_are_refused_where_one_does_it_all(make_spec: Maker) -> None:
    # The others would each load the model, and wait.
    spec = make_spec()
    spec = spec.model_copy(update={"execution": spec.execution.model_copy(update={"num_processes": 2})})
    with pytest.raises(UsageError, match=r"num_processes: found 2, wanted 1: .* this is a prompt-sweep"):
        expand_trials(spec)


def test_the_same_trial_twice_is_refused(make_spec: Maker) -> None:
    with pytest.raises(UsageError, match="stands twice; take one out"):
        expand_trials(make_spec(trials=[{"top_k": 50}, {}]))
    with pytest.raises(UsageError, match="stands twice; take one out"):
        expand_trials(make_spec(sweep={"max_new_tokens": {"closed": [8, 8]}}))


def test_two_models_of_one_name_are_refused(make_spec: Maker) -> None:
    # They would share a block, and one of them would answer for both.
    twins = [{"model": model("m", "1" * 64)}, {"model": model("m", "2" * 64)}]
    with pytest.raises(UsageError, match="two different models are named 'm'"):
        expand_trials(make_spec(trials=twins))


@pytest.mark.parametrize("key", ["model", "prompt_set"])
def test_an_axis_without_any_value_is_named(make_spec: Maker, key: str) -> None:
    option = key.replace("_", "-")
    with pytest.raises(UsageError, match=rf"experiment\.sweep\.{key}s: missing, .* with --{option}s"):
        expand_trials(make_spec(defaults={key: None}))
    with pytest.raises(UsageError, match=rf"experiment\.trials\[\]\.{key}: missing"):
        expand_trials(make_spec(defaults={key: None}, trials=[{}]))


PROBABILITIES = st.floats(0, 1, exclude_min=True)


@given(PROBABILITIES, PROBABILITIES)
def test_two_values_of_top_p_never_share_a_folder(make_spec: Maker, one: float, other: float) -> None:
    assume(one != other)
    first, second = expand_trials(make_spec(sweep={"top_p": [one, other]}))
    assert first.slug.rpartition("-")[0] != second.slug.rpartition("-")[0]
    assert first.slug.lower() != second.slug.lower()


@settings(max_examples=40)
@given(
    st.lists(st.floats(0, 5), min_size=1, max_size=3, unique=True),
    st.lists(st.floats(0, 5), min_size=1, max_size=3, unique=True),
)
def test_trials_that_differ_in_temperatures_alone_never_share_a_folder(
    make_spec: Maker, one: list[float], other: list[float]
) -> None:
    assume(one != other)
    first, second = expand_trials(make_spec(trials=[{"temps": one}, {"temps": other}]))
    assert first.slug != second.slug


# Every field that counts at a value that is not its default. A fingerprint names finished work: if this
# constant changes, people's runs can no longer be gone on with.
EVERYTHING: dict[str, Any] = {
    "datasets": [*DATASETS, HUB, TABLE],
    "limit_items": 24,
    "sampling": {"samples_per_item": 3, "seed": 7, "stop": ["\n\n", "Q:"]},
    "defaults": {
        "model": DEFAULT_MODEL,
        "prompt_set": DEFAULT_PROMPTS,
        "temps": [0.7, 0.0],
        "top_p": 0.995,
        "top_k": 20,
        "max_new_tokens": {"closed": 16, "open": 48},
    },
}
FROZEN = {
    1: "45f85685609da02cb2b3fed463edced3dc6df56a9fbe71532aac1d89772ba76a",  # two files and no caps
    2: "5b423d451bef0dc30d784490262a94d272d95bd45ee82cd9bbb8feff0db588d6",
}


def test_a_fingerprint_is_the_same_in_every_version_of_this_code(make_spec: Maker) -> None:
    assert only(make_spec(**EVERYTHING)).fingerprint == FROZEN.get(FINGERPRINT_VERSION), (
        "do not update the expected value: raise FINGERPRINT_VERSION and add a row"
    )


def changed(path: str, value: object) -> dict[str, Any]:
    *parents, last = path.split(".")
    tree: dict[str, Any] = {**EVERYTHING}
    here = tree
    for parent in parents:
        here[parent] = {**here[parent]}
        here = here[parent]
    here[last] = value
    return tree


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("defaults.model.sha256", "b" * 64),
        ("dry_run", True),
        ("defaults.prompt_set.control", "You answer questions!"),
        ("defaults.prompt_set.treatment", "You answer in two words."),
        ("defaults.temps", [0.7]),
        ("defaults.temps", [0.7, 0.1]),
        ("defaults.top_p", 0.955),
        ("defaults.top_k", 21),
        ("defaults.max_new_tokens.closed", 17),
        ("defaults.max_new_tokens.open", 49),
        ("sampling.samples_per_item", 4),
        ("sampling.seed", 8),
        ("sampling.stop", ["\n\n"]),
        ("limit_items", 25),
        ("limit_items", None),
        ("datasets", DATASETS),
        ("datasets", [DATASETS[0] | {"sha256": "e" * 64}, DATASETS[1], HUB, TABLE]),
        ("datasets", [DATASETS[0] | {"name": "truths"}, DATASETS[1], HUB, TABLE]),
        ("datasets", [DATASETS[0] | {"format": "nq_open"}, DATASETS[1], HUB, TABLE]),
        ("datasets", [DATASETS[0] | {"max_items": 3}, DATASETS[1], HUB, TABLE]),
        ("datasets", [*DATASETS, HUB | {"max_items": None}, TABLE]),
        ("datasets", [*DATASETS, HUB | {"hub": "hf:someone/svamp:test@v2"}, TABLE]),
        ("datasets", [*DATASETS, HUB | {"hub": "hf:someone/svamp:train@v1"}, TABLE]),
        ("datasets", [*DATASETS, HUB | {"sha256": "0" * 64}, TABLE]),
        ("datasets", [*DATASETS, HUB, TABLE | {"columns": {"id": "key", "separator": ";"}}]),
    ],
)
def test_whatever_can_change_an_answer_is_in_the_fingerprint(
    make_spec: Maker, path: str, value: object
) -> None:
    assert only(make_spec(**changed(path, value))).fingerprint != only(make_spec(**EVERYTHING)).fingerprint


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("defaults.model.name", "another"),
        ("defaults.model.source", "/elsewhere/tiny.gguf"),
        ("defaults.model.family", "g"),
        ("defaults.model.license", "MIT"),
        ("defaults.prompt_set.name", "another"),
        ("defaults.prompt_set.description", "another"),
        ("datasets", [TABLE, HUB, *DATASETS]),
        (
            "datasets",
            [DATASETS[0] | {"path": "/elsewhere/facts.jsonl", "description": "x"}, DATASETS[1], HUB, TABLE],
        ),
        ("datasets", [DATASETS[0] | {"rule": "triviaqa"}, DATASETS[1], HUB, TABLE]),
        ("datasets", [*DATASETS, HUB, TABLE, {"name": "off", "path": "/nowhere/off", "max_items": 0}]),
        ("unsupported", {"min_token_overlap": 0.5}),
        ("statistics", {"resamples": 10, "seed": 1}),
    ],
)
def test_names_places_and_scoring_are_not_in_the_fingerprint_of_a_trial(
    make_spec: Maker, path: str, value: object
) -> None:
    assert only(make_spec(**changed(path, value))).fingerprint == only(make_spec(**EVERYTHING)).fingerprint


def test_how_a_trial_is_run_is_not_in_its_fingerprint(make_spec: Maker) -> None:
    execution = {
        "max_concurrent_requests": 9,
        "parts_per_dataset": 3,
        "lines_per_part": 2,
        "condition": "control",
        "attempts_per_item": 1,
        "engine": {"threads": 1, "gpu_layers": 0, "context_tokens": 512},
        "pricing": {"input_per_million": 9},
    }
    plain, other = make_spec(**EVERYTHING), make_spec(execution=execution, **EVERYTHING)
    assert only(plain).fingerprint == only(other).fingerprint
    assert experiment_fingerprint(plain) == experiment_fingerprint(other)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("unsupported", {"min_token_overlap": 0.5}),
        ("statistics", {"resamples": 10}),
        ("scoring", {"rouge_l": True}),
        ("datasets", [DATASETS[0] | {"rule": "triviaqa"}, DATASETS[1], HUB, TABLE]),
    ],
)
def test_how_answers_are_scored_and_compared_is_in_the_fingerprint_of_the_run(
    make_spec: Maker, path: str, value: object
) -> None:
    assert experiment_fingerprint(make_spec(**changed(path, value))) != experiment_fingerprint(
        make_spec(**EVERYTHING)
    )


def test_the_words_around_a_question_are_in_the_fingerprint(
    make_spec: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, template = only(make_spec()).fingerprint, template_digest()
    monkeypatch.setattr("overnight.prompting.messages.CLOSED_INSTRUCTION", "Answer.")
    assert template_digest() != template
    assert only(make_spec()).fingerprint != before


def test_explicit_trials_and_the_sweep_that_means_the_same_are_the_same_experiment(make_spec: Maker) -> None:
    listed = make_spec(trials=[{"top_k": 0}, {"top_k": 20}])
    assert experiment_fingerprint(listed) == experiment_fingerprint(make_spec(sweep={"top_k": [0, 20]}))


def round_trip(spec: PromptSweepSpec, folder: RunFolder) -> PromptSweepSpec:
    write_text(folder.effective_config, config_text(spec))
    return load_spec(folder)


def test_the_same_fingerprint_comes_out_of_the_configuration_of_a_run(
    make_spec: Maker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spec = make_spec(
        execution={"condition": "treatment", "engine": {"threads": 3}},
        **EVERYTHING,
        sweep={"models": [model("a"), model("b")], "top_p": [1, 0.995], "temps": [0, 0.1]},
    )
    back = round_trip(spec, RunFolder(tmp_path_factory.mktemp("run")))
    assert back == spec
    assert experiment_fingerprint(back) == experiment_fingerprint(spec)


@settings(max_examples=40)
@given(ANY_TEXT, st.lists(ANY_TEXT.filter(bool), max_size=3))
def test_prompts_and_stop_strings_survive_the_configuration_of_a_run(
    make_spec: Maker, tmp_path_factory: pytest.TempPathFactory, text: str, stop: list[str]
) -> None:
    spec = make_spec(
        defaults={"prompt_set": {"name": "p", "control": text, "treatment": f"~ $HOME {text}"}},
        sampling={"stop": stop},
    )
    assert round_trip(spec, RunFolder(tmp_path_factory.getbasetemp())) == spec


def test_a_plan_counts_every_request(make_spec: Maker, items: list[Item]) -> None:
    # 7 items x 2 conditions x (1 draw at 0 + 3 draws at .7) = 56, in each of two trials.
    spec = make_spec(sweep={"temps": [0, 0.7], "top_k": [0, 1]}, sampling={"samples_per_item": 3})
    plan = make_plan(spec, items)
    assert list(plan.requests_per_trial.values()) == [56, 56]
    assert plan.n_requests == 112


def test_one_condition_is_half_the_requests(make_spec: Maker, items: list[Item]) -> None:
    assert make_plan(make_spec(execution={"condition": "treatment"}), items).n_requests == 7


def test_a_context_holds_the_longest_prompt_with_its_answer_and_no_more_than_the_model(
    make_spec: Maker, items: list[Item]
) -> None:
    (small,) = make_plan(make_spec(), items).blocks
    (long,) = make_plan(make_spec(defaults={"max_new_tokens": {"closed": 500, "open": 500}}), items).blocks
    (full,) = make_plan(make_spec(defaults={"max_new_tokens": {"closed": 9000, "open": 9}}), items).blocks
    (said,) = make_plan(make_spec(execution={"engine": {"context_tokens": 333}}), items).blocks
    assert small.context_tokens < long.context_tokens < full.context_tokens == 2048
    assert said.context_tokens == 333
