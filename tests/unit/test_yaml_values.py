from pathlib import Path

import pytest

from overnight.errors import UsageError
from overnight.spec.execution import Execution
from overnight.spec.prompt_sweep import Defaults, PromptSweepSpec
from overnight.spec.reading import read_mapping, validate
from overnight.spec.trait import TraitSpec
from overnight.spec.yaml_values import parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # YAML 1.1 reads the first three as 45000 seconds, 630 and a day; a queue takes 45000 for minutes.
        ("12:30:00", "12:30:00"),
        ("10:30", "10:30"),
        ("2024-01-02", "2024-01-02"),
        ("017", "017"),  # eight and seven there, seventeen to anybody else
        ("0", 0),
        ("-12", -12),
        ("0x1f", 31),
        ("1_000", 1000),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.0e-3", 0.001),
        ("-.inf", float("-inf")),
        ("no", False),
        ("~", None),
    ],
)
def test_a_value_is_what_it_looks_like(text: str, value: object) -> None:
    found = parse_yaml(text, "s.yaml")
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("text", ["!!set {a, b}", "!!omap [a: 1]", "!!binary YWJj", "!!timestamp 2024-01-02"])
def test_a_type_that_no_key_has_is_refused(text: str) -> None:
    # A set has no order, bytes would become a text: both would be changed without a word.
    with pytest.raises(UsageError, match=r"^s.yaml:1:1: could not determine a constructor for the tag"):
        parse_yaml(text, "s.yaml")


@pytest.mark.parametrize("text", ["&a [*a]", "&a {b: *a}", "x: &a {b: [1, {c: *a}]}"])
def test_an_alias_that_holds_itself_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^s.yaml: an alias stands inside of what it repeats"):
        parse_yaml(text, "s.yaml")


def test_aliases_that_come_to_more_than_there_is_memory_for_are_refused() -> None:
    # Nine lists of nine of the one before: 100 lines of text, 10^9 values.
    lines = ["- &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"- &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    with pytest.raises(UsageError, match=r"^s.yaml: \d+ values, aliases written out"):
        parse_yaml("\n".join(lines), "s.yaml")
    assert parse_yaml("[&a [x], *a, *a]", "s.yaml") == [["x"], ["x"], ["x"]]


@pytest.mark.parametrize("text", ["0x" + "f" * 5000, "9" * 30, "-9223372036854775808"])
def test_a_number_that_nothing_can_hold_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^s.yaml:1:1: a number of \d+ digits is too large"):
        parse_yaml(text, "s.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('experiment: {defaults: {model: "a\\0b"}}', "experiment.defaults.model: the text holds a NUL"),
        ('name: ["\\ud800"]', "name.0: the text holds half of a surrogate pair"),
    ],
)
def test_a_text_that_no_file_can_hold_is_refused_by_its_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_mapping(path, "a sweep")
    assert f"{path}: {message}" in str(caught.value)


@pytest.mark.parametrize("value", [True, False, [0.5, True]])
def test_yes_and_no_are_no_numbers(value: object) -> None:
    # Python has them as 1 and 0: `top_k: no` would be no limit, `temps: [yes]` a temperature of 1.
    key = "temps" if isinstance(value, list) else "top_k"
    with pytest.raises(UsageError, match=rf"^s.yaml: {key}: found .*, wanted a number; YAML reads yes, no"):
        validate(Defaults, {key: value}, "s.yaml")


def test_a_number_is_named_by_its_whole_key() -> None:
    value = {"name": "s", "experiment": {"datasets": ["d"]}, "execution": {"engine": {"threads": True}}}
    with pytest.raises(UsageError, match=r"execution\.engine\.threads: found True, wanted a number"):
        validate(PromptSweepSpec, value, "s.yaml")


def test_zero_and_one_are_yes_and_no() -> None:
    assert validate(Execution, {"request_cache": 0}, "s.yaml").request_cache is False


@pytest.mark.parametrize("path", ["", " "])
def test_an_empty_path_is_not_this_folder(path: str) -> None:
    with pytest.raises(UsageError, match=r"^s.yaml: path: found ' ?', wanted a path"):
        validate(TraitSpec, {"name": "t", "path": path}, "s.yaml")


def test_a_long_value_does_not_hide_what_was_wanted() -> None:
    with pytest.raises(UsageError) as caught:
        validate(Execution, {"deadline": "x" * 5000}, "s.yaml")
    assert len(str(caught.value)) < 700
    assert str(caught.value).endswith("wanted a time of day like 07:00")
