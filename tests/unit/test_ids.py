import json
import re
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.errors import StoreError, UsageError
from overnight.ids import (
    canonical_json,
    custom_id,
    digest,
    file_digest,
    is_run_id,
    item_key,
    new_run_id,
    number_label,
    split_custom_id,
    temperature_label,
    text_digest,
    trial_slug,
)
from overnight.store.run_folder import run_path

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)  # lone surrogates too
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def test_canonical_json_does_not_see_the_order_of_keys() -> None:
    assert canonical_json({"b": 1, "a": {"d": 2, "c": 3}}) == '{"a":{"c":3,"d":2},"b":1}'
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})


def test_canonical_json_sees_the_order_of_lists() -> None:
    assert digest([1, 2]) != digest([2, 1])


@given(ANY_TEXT)
def test_canonical_json_is_ascii_and_reads_back(text: str) -> None:
    written = canonical_json({"text": text})
    assert written.isascii()
    assert json.loads(written) == {"text": text}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_a_number_has_no_digest(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"temperature": number})


def test_digests_are_sha256(tmp_path: Path) -> None:
    # The sha256 of "abc" in FIPS 180-2, appendix B.1.
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "abc").write_bytes(b"abc")
    assert text_digest("abc") == abc
    assert file_digest(tmp_path / "abc") == abc


def test_a_lone_surrogate_has_a_digest_of_its_own() -> None:
    assert len({text_digest("\ud800"), text_digest("\udfff"), text_digest("?"), text_digest("")}) == 4


@pytest.mark.parametrize(
    ("number", "label"),
    [
        (1.0, "1"),
        (10.0, "10"),
        (0.995, "0.995"),
        (0.95, "0.95"),
        (0.955, "0.955"),
        (50, "50"),
        (0, "0"),
        (0.1, "0.1"),
    ],
)
def test_a_number_is_labelled_in_full(number: float, label: str) -> None:
    # The original wrote two decimals without the dot: .995 and .955 were 0.95 or 1.00, and 1.0 was 10.
    assert number_label(number) == label


def test_numbers_that_the_original_mixed_up_stay_apart() -> None:
    numbers = [1.0, 10.0, 0.995, 0.95, 0.955, 0.1, 0.01]
    assert all(number_label(a) != number_label(b) for a, b in combinations(numbers, 2))


@given(NUMBERS)
def test_a_number_label_reads_back_as_the_number(number: float) -> None:
    assert float(number_label(number)) == number


@given(NUMBERS)
def test_a_temperature_label_reads_back_and_has_a_dot_or_an_exponent(temperature: float) -> None:
    label = temperature_label(temperature)
    assert float(label) == temperature
    assert re.search(r"[.e]", label)


def test_a_custom_id_has_the_six_fields_of_the_contract() -> None:
    assert custom_id(item_key("facts", "q1"), "control", 0, 2, "closed") == "facts|q1|control|0.0|2|closed"


@given(ANY_TEXT, ANY_TEXT, st.floats(0, 5), st.integers(0, 10**6))
def test_a_custom_id_reads_back_whatever_stands_in_its_names(
    dataset: str, item_id: str, temperature: float, index: int
) -> None:
    text = custom_id(item_key(dataset, item_id), "treatment", temperature, index, "open")
    assert split_custom_id(text) == (dataset, item_id, "treatment", temperature, index, "open")


@pytest.mark.parametrize("name", ["a|b", "|", "%7C", "a%7Cb", "Łódź", "東京", "\ud800", "a\nb", ""])
def test_a_custom_id_is_one_ascii_line_of_six_fields(name: str) -> None:
    text = custom_id(item_key(name, name), "control", 0.7, 0, "closed")
    assert text.count("|") == 5
    assert text.isascii()
    assert text.isprintable()
    assert split_custom_id(text)[:2] == (name, name)


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_two_items_never_share_a_key(dataset: str, item_id: str, dataset2: str, item_id2: str) -> None:
    assert (item_key(dataset, item_id) == item_key(dataset2, item_id2)) == (
        (dataset, item_id) == (dataset2, item_id2)
    )


@pytest.mark.parametrize("text", ["", "a|b|control|0.0|0", "a|b|c|control|0.0|0|closed"])
def test_another_number_of_fields_is_no_custom_id(text: str) -> None:
    with pytest.raises(StoreError, match="6 wanted"):
        split_custom_id(text)


@pytest.mark.parametrize("name", ["r20260101000000abcd", "my.run-1_x", "A", "0", "x" * 100])
def test_a_plain_name_is_a_run_id(name: str, tmp_path: Path) -> None:
    assert is_run_id(name)
    assert run_path(tmp_path, name) == run_path(tmp_path, f"run_{name}") == tmp_path / f"run_{name}"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a\\b",
        "/etc",
        "~",
        "~root",
        "-x",
        ".x",
        "_x",
        "a\n",
        "a b",
        "a\0",
        "x" * 101,
        "ü",
    ],
)
def test_a_name_that_could_leave_the_folder_is_no_run_id(name: str, tmp_path: Path) -> None:
    assert not is_run_id(name)
    for spelling in (name, f"run_{name}"):
        with pytest.raises(UsageError, match="run id"):
            run_path(tmp_path, spelling)


@given(ANY_TEXT)
def test_a_run_is_always_directly_below_the_experiments(name: str) -> None:
    try:
        path = run_path(Path("/experiments"), name)
    except UsageError:
        return
    assert path.parent == Path("/experiments")
    assert path.name not in {".", ".."}


def test_a_new_run_id_says_when_and_is_a_run_id() -> None:
    made = new_run_id()
    assert re.fullmatch(r"r\d{14}[0-9a-f]{4}", made)
    assert is_run_id(made)


def test_a_slug_names_its_axes_and_eight_digits_of_the_fingerprint() -> None:
    slug = trial_slug(
        model="m", prompt_set="p", top_p=0.995, top_k=0, closed=16, opened=32, fingerprint="0123456789abcdef"
    )
    assert slug == "m-p-tp0.995-tk0-mx16-32-01234567"
