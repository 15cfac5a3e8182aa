from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from overnight.errors import UsageError
from overnight.spec.overrides import Overrides
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.reading import read_mapping, read_text, validate
from overnight.spec.run_options import RunOptions
from overnight.spec.steps import Step, StepRange

HEAD = "name: s\nexperiment:\n  datasets: [facts]\n"


def sweep(tmp_path: Path, text: str) -> PromptSweepSpec:
    path = tmp_path / "s.yaml"
    path.write_text(text, encoding="utf-8")
    return validate(PromptSweepSpec, read_mapping(path, "a sweep"), path)


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(UsageError) as caught:
        sweep(tmp_path, text)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{tmp_path / 's.yaml'}:")
    return message


@pytest.mark.parametrize(
    ("text", "key", "near"),
    [
        (HEAD + "exection: {}\n", "exection", "execution"),
        (HEAD + "Experiment: {}\n", "Experiment", "experiment"),
        (HEAD + "  samplng: {}\n", "experiment.samplng", "sampling"),
        (HEAD + "  limit_item: 3\n", "experiment.limit_item", "limit_items"),
        (HEAD + "  sweep: {top-k: [1]}\n", "experiment.sweep.top-k", "top_k"),
        (HEAD + "  sweep: {temp: [1]}\n", "experiment.sweep.temp", "temps"),
        (HEAD + "  sampling: {Seed: 1}\n", "experiment.sampling.Seed", "seed"),
        (
            HEAD + "  defaults: {max_new_tokens: {close: 1}}\n",
            "experiment.defaults.max_new_tokens.close",
            "closed",
        ),
        (HEAD + "  trials: [{top_p: 1}, {topp: 1}]\n", "experiment.trials.1.topp", "top_p"),
        (HEAD + "  sweep: {models: [{name: m, Sorce: x}]}\n", "experiment.sweep.models.0.Sorce", "source"),
        (
            HEAD + "  defaults: {prompt_set: {treatmnt: x}}\n",
            "experiment.defaults.prompt_set.treatmnt",
            "treatment",
        ),
        (HEAD + "execution: {engine: {thread: 1}}\n", "execution.engine.thread", "threads"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(
    tmp_path: Path, text: str, key: str, near: str
) -> None:
    assert f"unknown key {key!r}; did you mean {near!r}?" in refusal(tmp_path, text)


def test_an_unknown_key_like_no_other_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    message = refusal(tmp_path, HEAD + "zzzz: 1\n")
    assert "unknown key 'zzzz'; known keys: description, execution, experiment, kind, name" in message


@pytest.mark.parametrize(
    ("text", "key", "found"),
    [
        (HEAD + "  limit_items: many\n", "experiment.limit_items", "'many'"),
        (HEAD + "  limit_items: -1\n", "experiment.limit_items", "-1"),
        (HEAD + "  limit_items: 1.5\n", "experiment.limit_items", "1.5"),
        (HEAD + "  sweep: {temps: 0}\n", "experiment.sweep.temps", "0"),
        (HEAD + "  sweep: {temps: []}\n", "experiment.sweep.temps", "[]"),
        (HEAD + "  sweep: {temps: [hot]}\n", "experiment.sweep.temps.0", "'hot'"),
        (HEAD + "  sweep: {temps: [.nan]}\n", "experiment.sweep.temps.0", "nan"),
        (HEAD + "  sweep: {top_p: [0]}\n", "experiment.sweep.top_p.0", "0"),
        (HEAD + "  sweep: {models: [3]}\n", "experiment.sweep.models.0", "3"),
        (HEAD + "  sweep: {models: tiny}\n", "experiment.sweep.models", "'tiny'"),
        (HEAD + "  sampling: 3\n", "experiment.sampling", "3"),
        (HEAD + "  sampling: {samples_per_item: 0}\n", "experiment.sampling.samples_per_item", "0"),
        (HEAD + "  trials: [{top_k: 0}, {top_k: x}]\n", "experiment.trials.1.top_k", "'x'"),
        (HEAD + "execution: {condition: none}\n", "execution.condition", "'none'"),
        (
            HEAD + "execution: {pricing: {input_per_million: .inf}}\n",
            "execution.pricing.input_per_million",
            "inf",
        ),
        ("name: s\nexperiment: {datasets: []}\n", "experiment.datasets", "[]"),
        ("name: s\nexperiment:\n", "experiment", "None"),
        ("name: [s]\nexperiment: {datasets: [d]}\n", "name", "['s']"),
    ],
)
def test_a_wrong_value_is_named_by_its_key_with_what_was_found(
    tmp_path: Path, text: str, key: str, found: str
) -> None:
    assert f" {key}: found {found}, wanted " in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("experiment: {datasets: [d]}\n", "name"),
        ("name: s\n", "experiment"),
        ("name: s\nexperiment: {}\n", "experiment.datasets"),
    ],
)
def test_a_missing_key_is_named(tmp_path: Path, text: str, key: str) -> None:
    assert f" {key}: missing; add it" in refusal(tmp_path, text)


def test_one_wrong_value_of_two_possible_types_is_one_problem(tmp_path: Path) -> None:
    assert "more)" not in refusal(tmp_path, HEAD + "  sweep: {models: [3]}\n")


def test_several_problems_are_counted(tmp_path: Path) -> None:
    assert "(and 2 more)" in refusal(tmp_path, HEAD + "  limit_items: x\n  dry_run: x\n  sampling: x\n")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", ".", "..", ".x", "a b", ""])
@pytest.mark.parametrize(
    "place", ["name: {!r}\nexperiment: {{datasets: [d]}}", "name: s\nexperiment: {{datasets: [{!r}]}}"]
)
def test_a_name_that_could_leave_a_folder_is_refused(tmp_path: Path, place: str, name: str) -> None:
    assert f"found {name!r}" in refusal(tmp_path, place.format(name))


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "  defaults: {temps: [0.7, 0.7]}\n",
        HEAD + "  sweep: {temps: [0, 0.0]}\n",
        HEAD + "  sweep: {temps: [0, -0.0]}\n",
        HEAD + "  trials: [{temps: [0.7, 0, 0.70]}]\n",
        HEAD + "  sweep: {top_p: [1, 1.0]}\n",
        HEAD + "  sweep: {top_k: [50, 50]}\n",
        HEAD + "  sweep: {models: [a, a]}\n",
        HEAD + "  sweep: {prompt_sets: [a, b, a]}\n",
        "name: s\nexperiment: {datasets: [d, d]}\n",
    ],
)
def test_a_value_that_stands_twice_in_a_list_is_refused(tmp_path: Path, text: str) -> None:
    # Twice the same temperature would be one arm, asked and scored twice.
    assert "twice" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("name: s\nexperiment: [\n", ":3:1:"),
        ("name: s\n  experiment: 1\n", ":2:13:"),
        ("name: s\n\texperiment: 1\n", ":2:1:"),
        ("name: 's\n", ":2:1:"),
        ("name: *nobody\n", ":1:7:"),
        ("name: !!python/object:os.system s\n", ":1:7:"),
    ],
)
def test_unreadable_yaml_is_named_by_its_line_and_column(tmp_path: Path, text: str, where: str) -> None:
    assert f"s.yaml{where}" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    "text", ["name: !!float x\n", "name: !!int x\n", "name: \x01\n", "name: " + "[" * 600]
)
def test_what_looks_like_yaml_and_is_not_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    assert "not valid YAML" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "name: a\nname: b\n",
        "name: a\nexperiment: {seed: 1, seed: 2}\n",
        "name: a\nname: a\n",
        "name: a\n'name': b\n",
    ],
)
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, text: str) -> None:
    # YAML would let the last one win.
    message = refusal(tmp_path, text)
    assert ":2:" in message
    assert "stands twice" in message


@pytest.mark.parametrize("text", ["1: a\n", "yes: a\n", "? [a]\n: b\n", "~: a\n"])
def test_a_key_that_is_no_text_is_refused(tmp_path: Path, text: str) -> None:
    assert "is not a text" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "found"), [("", "nothing"), ("# a remark\n", "nothing"), ("- a\n", "a list"), ("a\n", "a str")]
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, found: str) -> None:
    assert f"found {found} at the top, wanted a mapping" in refusal(tmp_path, text)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_bytes("name: é\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"s\.yaml: byte 6 is not UTF-8"):
        read_mapping(tmp_path / "s.yaml", "a sweep")


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_bytes(b"\xef\xbb\xbfname: s\n")
    assert read_mapping(tmp_path / "s.yaml", "a sweep") == {"name": "s"}


def test_a_missing_file_and_a_folder_are_named_with_what_was_wanted(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.yaml: no such file; a sweep was wanted there"):
        read_text(tmp_path / "gone.yaml", "a sweep")
    with pytest.raises(UsageError, match="cannot be read"):
        read_text(tmp_path, "a sweep")


def test_zero_items_are_not_all_items(tmp_path: Path) -> None:
    assert sweep(tmp_path, HEAD + "  limit_items: 0\n").experiment.limit_items == 0
    assert sweep(tmp_path, HEAD + "  limit_items: null\n").experiment.limit_items is None
    assert sweep(tmp_path, HEAD).experiment.limit_items is None


def test_zero_stays_zero_in_every_list(tmp_path: Path) -> None:
    spec = sweep(tmp_path, HEAD + "  sweep: {temps: [0], top_k: [0]}\n")
    assert spec.experiment.sweep is not None
    assert (spec.experiment.sweep.temps, spec.experiment.sweep.top_k) == ((0.0,), (0,))


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("MODELS", "/data/models")
    monkeypatch.delenv("NOBODY", raising=False)


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("~/tiny.gguf", "/home/ada/tiny.gguf"),
        ("$MODELS/tiny.gguf", "/data/models/tiny.gguf"),
        ("${MODELS}/tiny.gguf", "/data/models/tiny.gguf"),
        ("$NOBODY/tiny.gguf", "$NOBODY/tiny.gguf"),
        ("/a/~/tiny.gguf", "/a/~/tiny.gguf"),
    ],
)
def test_environment_variables_and_the_home_folder_expand_in_paths(
    tmp_path: Path, written: str, meant: str
) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(yaml.safe_dump({"source": written, "nested": [{"path": written}]}), encoding="utf-8")
    assert read_mapping(path, "a model") == {"source": meant, "nested": [{"path": meant}]}


@pytest.mark.usefixtures("environment")
def test_nothing_expands_in_what_a_model_reads(tmp_path: Path) -> None:
    prompts = {"name": "p", "control": "~ costs $HOME", "treatment": "~/$MODELS"}
    value = {"stop": ["$HOME", "~"], "description": "~ $HOME", "prompt_set": prompts}
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(value), encoding="utf-8")
    assert read_mapping(path, "a sweep") == value


@pytest.mark.usefixtures("environment")
def test_nothing_expands_in_the_configuration_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "effective_config.yaml"
    path.write_text("path: $HOME/x\n", encoding="utf-8")
    assert read_mapping(path, "the configuration of the run", expand=False) == {"path": "$HOME/x"}


def complaint(read: Callable[[], object]) -> str:
    """Return what a user is told, or nothing where all is well; any other error goes through."""
    try:
        read()
    except UsageError as error:
        return str(error)
    return ""


@given(st.binary(max_size=60))
def test_any_bytes_are_a_mapping_or_one_line_of_refusal(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    message = complaint(lambda: validate(PromptSweepSpec, read_mapping(path, "a sweep"), path))
    assert message.startswith(f"{path}:") or not message
    assert "\n" not in message


YAML_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["models", "temps", "max_new_tokens", "closed", "name", "source", "seed", "Zzz", "stop"]
)


@given(
    st.sampled_from(["sweep", "trials", "defaults", "sampling", "datasets"]),
    st.dictionaries(KEYS, YAML_VALUES),
)
def test_any_value_in_any_place_is_valid_or_one_line_of_refusal(section: str, value: dict[str, Any]) -> None:
    experiment = {"datasets": ["d"], section: value}
    for tree in (experiment, experiment | {section: [value]}):
        spec = {"name": "s", "experiment": tree}
        message = complaint(lambda spec=spec: validate(PromptSweepSpec, spec, "s.yaml"))
        assert message.startswith("s.yaml: ") or not message
        assert "\n" not in message


def test_an_override_is_remembered_with_what_it_replaced() -> None:
    overrides = Overrides({"experiment": {"limit_items": 24}})
    overrides.set("experiment.limit_items", 0, "--limit-items")
    overrides.set("execution.engine.threads", 2, "--set")
    assert overrides.value == {"experiment": {"limit_items": 0}, "execution": {"engine": {"threads": 2}}}
    assert [(o.key, o.old, o.new, o.source) for o in overrides.made] == [
        ("experiment.limit_items", 24, 0, "--limit-items"),
        ("execution.engine.threads", None, 2, "--set"),
    ]


def test_an_override_that_changes_nothing_is_none() -> None:
    overrides = Overrides({"a": 1})
    overrides.set("a", 1, "--set")
    assert overrides.made == []


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("a.b=2", 2),
        ("a.b=", None),
        ("a.b=x=y", "x=y"),
        ("a.b=[0, 0.7]", [0, 0.7]),
        (" a.b =no", False),
        ("a.b='no'", "no"),
    ],
)
def test_the_value_of_an_assignment_is_yaml(assignment: str, value: object) -> None:
    overrides = Overrides({"a": {"b": 1}})
    overrides.set_text(assignment)
    assert overrides.value == {"a": {"b": value}}


@pytest.mark.parametrize(
    "assignment",
    ["a", "=1", " =1", "a=[", "name.x=1", "a=!!set {a}", "a={b: 1, b: 2}", "a=&x [*x]", "a=\x01"],
)
def test_an_assignment_that_is_none_is_refused(assignment: str) -> None:
    with pytest.raises(UsageError, match=r"^--set"):
        Overrides({"name": "s"}).set_text(assignment)


def test_steps_are_a_slice_with_both_ends() -> None:
    steps = StepRange.choose(None, "parse", "stats")
    assert [step for step in Step if steps.has(step)] == [Step.PARSE, Step.SCORE, Step.STATS]
    assert not steps.asks
    assert [step for step in Step if StepRange.choose("poll", None, None).has(step)] == [Step.POLL]
    assert StepRange.choose(None, None, None) == StepRange()


@pytest.mark.parametrize(
    ("only", "first", "last", "named"),
    [
        ("guess", None, None, "--only-step guess"),
        (None, "guess", None, "--from-step guess"),
        (None, None, "guess", "--to-step guess"),
        ("parse", "parse", None, "--only-step stands alone"),
        (None, "stats", "parse", "--from-step stats comes after --to-step parse"),
    ],
)
def test_steps_that_are_none_are_named_by_their_option(
    only: str | None, first: str | None, last: str | None, named: str
) -> None:
    with pytest.raises(UsageError, match=named):
        StepRange.choose(only, first, last)


def test_run_options_know_no_other_keys() -> None:
    with pytest.raises(ValueError, match="Extra inputs"):
        RunOptions.model_validate({"run": "x"})
