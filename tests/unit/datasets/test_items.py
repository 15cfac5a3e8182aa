import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.datasets.reading import clean_text, read_items
from overnight.errors import UsageError
from overnight.records import Item, ItemType
from overnight.spec.dataset import DatasetSpec

CLOSED = {"id": "q1", "question": "How many?", "answers": ["four"]}
OPEN = {"id": "q1", "question": "How many?", "answers": ["four"], "context": "There are four."}


def dataset(tmp_path: Path, content: bytes, kind: ItemType = ItemType.CLOSED) -> DatasetSpec:
    path = tmp_path / "facts.jsonl"
    path.write_bytes(content)
    return DatasetSpec(name="facts", type=kind, path=path)


def lines(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def without(row: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != key}


def refusal(spec: DatasetSpec) -> str:
    with pytest.raises(UsageError) as caught:
        read_items(spec)
    return str(caught.value)


def test_a_row_becomes_an_item(tmp_path: Path) -> None:
    assert read_items(dataset(tmp_path, lines(OPEN), ItemType.OPEN)) == [
        Item(
            dataset="facts",
            item_id="q1",
            type=ItemType.OPEN,
            question="How many?",
            answers=("four",),
            context="There are four.",
        )
    ]


def test_items_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    rows = [CLOSED | {"id": name} for name in ("c", "a", "b")]
    assert [item.item_id for item in read_items(dataset(tmp_path, lines(*rows)))] == ["c", "a", "b"]


def test_an_open_item_without_answers_is_unanswerable(tmp_path: Path) -> None:
    (item,) = read_items(dataset(tmp_path, lines(OPEN | {"answers": []}), ItemType.OPEN))
    assert item.is_unanswerable


def test_a_number_is_an_id(tmp_path: Path) -> None:
    (item,) = read_items(dataset(tmp_path, lines(CLOSED | {"id": 7})))
    assert item.item_id == "7"


def test_a_byte_order_mark_is_no_part_of_the_data(tmp_path: Path) -> None:
    plain = read_items(dataset(tmp_path, lines(CLOSED)))
    assert read_items(dataset(tmp_path, b"\xef\xbb\xbf" + lines(CLOSED))) == plain
    assert read_items(dataset(tmp_path, b"\xef\xbb\xbf\n" + lines(CLOSED))) == plain


def test_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    rows = lines(CLOSED, CLOSED | {"id": "q2"})
    plain = read_items(dataset(tmp_path, rows))
    assert read_items(dataset(tmp_path, rows.replace(b"\n", b"\r\n"))) == plain


def test_blank_lines_and_a_missing_last_line_end_change_nothing(tmp_path: Path) -> None:
    (item,) = read_items(dataset(tmp_path, b"\n  \n" + lines(CLOSED).rstrip(b"\n")))
    assert item.item_id == "q1"


def test_a_line_separator_inside_a_text_does_not_end_the_line(tmp_path: Path) -> None:
    row = CLOSED | {"question": "How\u2028many?"}
    (item,) = read_items(dataset(tmp_path, json.dumps(row, ensure_ascii=False).encode()))
    assert item.question == "How many?"


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once
    assert "".join(once.split()) == "".join(text.split())


# What stands on line 2 of a closed-book file, what the message calls it, and what it says is wanted.
BAD_ROWS = [
    (b"{id: 1}", "not JSON", "one object a line"),
    (b'{"id": "q2"', "not JSON", "one object a line"),
    (b"[1, 2]", "found '[1, 2]", "wanted a JSON object"),
    (b'"text"', "found", "wanted a JSON object"),
    (b"null", "found 'null", "wanted a JSON object"),
    (b"[" * 100_000, "not JSON", "one object a line"),
    (b'{"id": ' + b"1" * 5000 + b"}", "not JSON", "one object a line"),
    (b'{"id": "\xff"}', "byte 9 of the line is not UTF-8", "save the file as UTF-8"),
    (lines(without(CLOSED, "id")), "id: found nothing", "wanted a text"),
    (lines(CLOSED | {"id": " "}), "id: found ' '", "wanted a text"),
    (lines(CLOSED | {"id": True}), "id: found True", "wanted a text"),
    (lines(CLOSED | {"id": 1.5}), "id: found 1.5", "wanted a text"),
    (lines(CLOSED | {"id": ["q2"]}), "id: found ['q2']", "wanted a text"),
    (lines(without(CLOSED, "question")), "question: found nothing", "wanted a text"),
    (lines(CLOSED | {"question": ""}), "question: found ''", "wanted a text"),
    (lines(CLOSED | {"question": " \t\n"}), "question: found", "wanted a text"),
    (lines(CLOSED | {"question": 3}), "question: found 3", "wanted a text"),
    (lines(CLOSED | {"question": True}), "question: found True", "wanted a text"),
    (lines(CLOSED | {"question": None}), "question: found nothing", "wanted a text"),
    (lines(without(CLOSED, "answers")), "answers: found None", "wanted a list of texts"),
    (lines(CLOSED | {"answers": "four"}), "answers: found 'four'", "wanted a list of texts"),
    (lines(CLOSED | {"answers": [4]}), "answers: found [4]", "wanted a list of texts"),
    (lines(CLOSED | {"answers": ["four", " "]}), "answers: found", "wanted a list of texts"),
    (lines(CLOSED | {"answers": []}), "answers: empty", "at least one gold answer"),
    (lines(CLOSED | {"context": "There are four."}), "context: not allowed", "set type: open"),
    (
        lines(CLOSED | {"anwsers": []}),
        "unknown key 'anwsers'",
        "known keys: answers, context, id, question, wrong_answers",
    ),
    (lines(CLOSED), "id 'q1' stands on line 1 already", "an id of its own"),
    (lines(CLOSED | {"id": " q1 "}), "id 'q1' stands on line 1 already", "an id of its own"),
]


@pytest.mark.parametrize(
    ("line", "found", "wanted"), BAD_ROWS, ids=[f"{row[1]}-{n}" for n, row in enumerate(BAD_ROWS)]
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, line: bytes, found: str, wanted: str) -> None:
    spec = dataset(tmp_path, lines(CLOSED) + line)
    message = refusal(spec)
    assert message.startswith(f"{spec.path}:2: ")
    assert found in message
    assert wanted in message
    assert "\n" not in message


def test_an_id_and_a_number_that_read_the_same_are_one_id(tmp_path: Path) -> None:
    rows = lines(CLOSED | {"id": "7"}, CLOSED | {"id": 7})
    assert ":2: id '7' stands on line 1 already" in refusal(dataset(tmp_path, rows))


@pytest.mark.parametrize("context", [None, "", "  ", 5])
def test_an_open_item_needs_its_passage(tmp_path: Path, context: object) -> None:
    spec = dataset(tmp_path, lines(OPEN | {"context": context}), ItemType.OPEN)
    assert re.search(r":1: context: found .*, wanted a text", refusal(spec))


@pytest.mark.parametrize("content", [b"", b"\n\n", b" \n\t\n", b"\xef\xbb\xbf", b"\r\n"])
def test_a_file_without_items_is_refused(tmp_path: Path, content: bytes) -> None:
    spec = dataset(tmp_path, content)
    assert refusal(spec) == f"{spec.path}: no items in it; dataset 'facts' needs at least one"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    spec = DatasetSpec(name="facts", type=ItemType.CLOSED, path=tmp_path / "gone.jsonl")
    assert refusal(spec) == f"{tmp_path / 'gone.jsonl'}: no such file; dataset 'facts' names it"


def test_a_folder_is_no_file_of_items(tmp_path: Path) -> None:
    spec = DatasetSpec(name="facts", type=ItemType.CLOSED, path=tmp_path)
    assert "cannot be read" in refusal(spec)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_file_in_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    row = json.dumps(CLOSED | {"question": "Où est Zoë?"}, ensure_ascii=False)
    assert "not UTF-8" in refusal(dataset(tmp_path, row.encode(encoding)))


def test_a_bad_byte_far_into_the_file_is_named_by_its_line(tmp_path: Path) -> None:
    rows = lines(*(CLOSED | {"id": str(n)} for n in range(999)))
    assert ":1000: byte 1 of the line" in refusal(dataset(tmp_path, rows + b"\xff\n"))


def test_the_type_is_closed_where_nobody_says(tmp_path: Path) -> None:
    spec = dataset(tmp_path, lines(CLOSED))
    assert DatasetSpec(name="facts", path=spec.path).type is ItemType.CLOSED


def test_a_row_may_name_known_falsehoods(tmp_path: Path) -> None:
    (item,) = read_items(dataset(tmp_path, lines(CLOSED | {"wrong_answers": ["five", " six "]})))
    assert item.wrong_answers == ("five", "six")
