from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.errors import UsageError
from overnight.spec.base import Spec
from overnight.spec.reading import read_mapping, validate
from tests.fuzz.refusals import outcome
from tests.fuzz.specifications import smallest, specifications

FILE = Path("s.yaml")
# As they stand behind the colon: what YAML, pydantic or Python may take for something else.
WRITTEN = [
    *("null", "~", "true", "false", "yes", "no", "on", "off", '"yes"', '"off"'),
    *(
        "0",
        "-0",
        "1",
        "2",
        "-1",
        "5",
        '"5"',
        "5.0",
        "5.5",
        "-5.5",
        "1e3",
        "1.0e+5",
        "1_000",
        "0x10",
        "0o17",
        "017",
    ),
    *(".nan", ".inf", "-.inf", "1e999", "99999999999999999999999", "0x" + "f" * 5000, "9" * 4000, "9" * 5000),
    *("1:30", "07:00", "12:00:00", "12:30:45.5", "2024-01-02", "2024-13-45", "2024-01-02T03:04:05Z"),
    *(
        '""',
        '" "',
        "a",
        "é",
        "\U0001f319",
        '"\\0"',
        '"\\ud800"',
        '"a\\nb"',
        '"../x"',
        "/etc",
        "..",
        "~",
        "~root",
    ),
    *(
        '"${NOBODY}"',
        '"$"',
        f'"{"x" * 5000}"',
        "=",
        "<<",
        "*nobody",
        "@a",
        "`a`",
        "%a",
        "!a",
        "!!python/name:os.system",
    ),
    *("[]", "[1]", "[a]", "[a, a]", "[1, 1.0]", "[true]", "[[a]]", "[null]", "[.nan]", "[{}]", "[" * 600),
    *("{}", "{a: 1}", "{a: {b: [1]}}", "{a: 1, a: 2}", "{1: a}", "{name: x, name: y}", "{name: x}"),
    *(
        "!!set {a, b}",
        "!!omap [a: 1]",
        "!!pairs [a: 1]",
        "!!binary YWJj",
        "[!!binary YWJj]",
        "!!timestamp 2024-01-02",
    ),
    *(
        "!!str 5",
        "!!float 5",
        "!!int '5'",
        "!!bool 'yes'",
        "!!null ''",
        "&a [*a]",
        "&a {a: *a}",
        "&a {b: [*a]}",
    ),
    "[&a [x, x, x], &b [*a, *a, *a, *a], &c [*b, *b, *b, *b]]",
]
# What means the same in other words, and is written down in full.
MEANS = {
    ("Execution", "gpu_lease"): {False: "off"},
    ("TrackingSettings", "wandb"): {False: "off"},
    ("DatasetSpec", "type"): {None: "closed"},
}
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what each of the values is in a file, where it is one."""
    path, found = tmp_path_factory.mktemp("values") / "s.yaml", {}
    for text in WRITTEN:
        path.write_text(f"x: {text}\n", encoding="utf-8")
        value, message = outcome(read_mapping, path, "a value")
        if value is not None:
            found[text] = value["x"]
        else:
            assert str(message).startswith(f"{path}:")
    return found


def same(given: Any, kept: Any) -> bool:
    """Return whether what is kept says what was given; more may stand beside it, by default."""
    if isinstance(given, dict) and isinstance(kept, dict):
        return all(key in kept and same(part, kept[key]) for key, part in given.items())
    if isinstance(given, list | tuple) and isinstance(kept, list | tuple):
        return len(given) == len(kept) and all(map(same, given, kept))
    if isinstance(given, str) and isinstance(kept, bool):
        return given.strip().lower() in (
            ("true", "yes", "on", "1", "y", "t") if kept else ("false", "no", "off", "0", "n", "f")
        )
    if isinstance(given, str) and isinstance(kept, int | float):
        return float(given) == kept
    if isinstance(given, bool) and not isinstance(kept, bool):
        return False
    return bool(given == kept) or (
        isinstance(given, str) and isinstance(kept, str) and kept == str(Path(given))
    )


def require_kept_or_refused(model: type[Spec], field: str, value: Any) -> None:
    """Validate one value among what the specification needs; it is kept as it is, or refused by its key."""
    spec, message = outcome(validate, model, smallest(model) | {field: value}, FILE)
    if spec is None:
        assert message is not None
        assert message.startswith(f"{FILE}: "), message
        assert field in message, message
        assert len(message) < 1000, message
        return
    kept = spec.model_dump(mode="json")[field]
    meant = MEANS.get((model.__name__, field), {})
    if not isinstance(value, list | dict) and value in meant:
        assert kept == meant[value]
    else:
        assert same(value, kept), (model.__name__, field, value, kept)


@pytest.mark.parametrize("model", specifications(), ids=lambda model: model.__name__)
def test_a_value_is_kept_as_it_was_written_or_refused_with_its_key(
    model: type[Spec], read: dict[str, Any]
) -> None:
    # A key that is added later is tried here by itself: the classes are walked.
    validate(model, smallest(model), FILE)
    for field in model.model_fields:
        for value in read.values():
            require_kept_or_refused(model, field, value)


KEYS = [(model, field) for model in specifications() for field in model.model_fields]


@given(key=st.sampled_from(KEYS), value=VALUES)
def test_any_value_is_kept_as_it_was_given_or_refused_with_its_key(
    key: tuple[type[Spec], str], value: Any
) -> None:
    require_kept_or_refused(*key, value)


@given(key=st.sampled_from(KEYS), unknown=st.text(max_size=12))
def test_an_unknown_key_is_refused_by_its_name(key: tuple[type[Spec], str], unknown: str) -> None:
    model = key[0]
    if unknown in model.model_fields:
        return
    with pytest.raises(UsageError) as caught:
        validate(model, smallest(model) | {unknown: 1}, FILE)
    assert repr(unknown) in str(caught.value)


@given(
    content=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))
)
def test_whatever_stands_in_a_config_is_read_or_refused_in_one_line(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    _, message = outcome(read_mapping, path, "a sweep")
    assert message is None or message.startswith(str(path))
