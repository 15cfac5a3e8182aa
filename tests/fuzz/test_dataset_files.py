import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.datasets.reading import Tally, iterate_items
from overnight.records import Item
from overnight.spec.dataset import DatasetFormat, DatasetSpec
from overnight.spec.reading import validate
from tests.fuzz.effort import effort
from tests.fuzz.mutations import damaged, mutated
from tests.fuzz.refusals import outcome

ITEMS = [
    {"id": "q1", "question": "Who rows?", "answers": ["Ann", "A. Lee"]},
    {"id": 2, "question": "Who swims?  ", "answers": ["Bo"], "wrong_answers": ["Cy"]},
    {"id": "q3", "question": "Quién és?", "answers": ["Él \U0001f319"]},
]
SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "t",
            "paragraphs": [
                {
                    "context": "Ann rows and Bo swims.",
                    "qas": [
                        {"id": "1", "question": "Who rows?", "answers": [{"text": "Ann", "answer_start": 0}]},
                        {"id": "2", "question": "Who flies?", "answers": [], "is_impossible": True},
                    ],
                }
            ],
        }
    ],
}
TRIVIAQA = {
    "Data": [
        {
            "Question": "Who rows?",
            "QuestionId": "tc_1",
            "Answer": {"Value": "Ann", "Aliases": ["Ann", "A. Lee"]},
        },
        {"Question": "Who swims?", "QuestionId": "tc_2", "Answer": {"Value": "Bo", "Aliases": []}},
    ]
}
NQ_OPEN = [{"question": "who rows", "answer": ["Ann", "A. Lee"]}, {"question": "who swims", "answer": ["Bo"]}]
SVAMP = [
    {"ID": "chal-1", "Body": "Ann has 3 pears.", "Question": "How many?", "Answer": 3.0, "Type": "x"},
    {
        "ID": "chal-2",
        "Body": "Bo has 12345678901234567891 pears.",
        "Question": "All?",
        "Answer": 12345678901234567891,
    },
]
TRUTHFULQA = [
    {"question": "Who?", "best_answer": "Ann", "correct_answers": ["Ann", "A."], "incorrect_answers": ["Bo"]},
    {
        "question": "What?",
        "mc1_targets": {"choices": ["a", "b"], "labels": [1, 0]},
        "mc2_targets": {"choices": ["a", "b", "c"], "labels": [1, 0, 1]},
    },
]
TABLE = [["id", "question", "answers"], ["1", "Who rows?", '["Ann", "Bo, C"]'], ["2", 'Who "swims"?', "Bo"]]
TEXTS = [{"id": "t1", "text": "Ann rows."}, {"text": "Bo swims."}]
CHATS = [
    {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Ann."}]},
    {"id": "c", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hm"}]},
]


def as_lines(rows: Any) -> bytes:
    rows = rows if isinstance(rows, list) else [rows]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_document(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def as_csv(rows: Any) -> bytes:
    text = io.StringIO()
    rows = rows if isinstance(rows, list) else [[rows]]
    csv.writer(text).writerows(row if isinstance(row, list) else [row] for row in rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


PROMPTS = b"# a remark\nWho rows?\n\nWho  swims?\n"
TSV = b"Who rows?\t['Ann', 'A. Lee']\n\"Who \"\"swims\"\"?\"\t['Bo']\n"
PARAGRAPHS = b"Ann rows\nevery day.\n\nBo swims.\n"
CSV_TRUTHFULQA = [
    ["Type", "Question", "Best Answer", "Correct Answers", "Incorrect Answers"],
    ["x", "Who?", "Ann", "Ann; A.", "Bo; Cy"],
]
KINDS: dict[str, tuple[DatasetFormat, str, Any, Callable[[Any], bytes]]] = {
    "items": (DatasetFormat.ITEMS, "jsonl", ITEMS, as_lines),
    "squad": (DatasetFormat.SQUAD, "json", SQUAD, as_document),
    "triviaqa": (DatasetFormat.TRIVIAQA, "json", TRIVIAQA, as_document),
    "triviaqa_tsv": (DatasetFormat.TRIVIAQA_TSV, "tsv", TSV, bytes),
    "nq_open": (DatasetFormat.NQ_OPEN, "jsonl", NQ_OPEN, as_lines),
    "nq_open_list": (DatasetFormat.NQ_OPEN, "json", NQ_OPEN, as_document),
    "svamp": (DatasetFormat.SVAMP, "json", SVAMP, as_document),
    "truthfulqa": (DatasetFormat.TRUTHFULQA, "json", TRUTHFULQA, as_document),
    "truthfulqa_csv": (DatasetFormat.TRUTHFULQA, "csv", CSV_TRUTHFULQA, as_csv),
    "csv": (DatasetFormat.CSV, "csv", TABLE, as_csv),
    "jsonl": (DatasetFormat.JSONL, "jsonl", ITEMS, as_lines),
    "prompts": (DatasetFormat.PROMPTS, "txt", PROMPTS, bytes),
    "texts": (DatasetFormat.TEXTS, "txt", PARAGRAPHS, bytes),
    "texts_jsonl": (DatasetFormat.TEXTS, "jsonl", TEXTS, as_lines),
    "chats": (DatasetFormat.CHATS, "jsonl", CHATS, as_lines),
}


def test_every_format_is_tried() -> None:
    assert {form for form, *_ in KINDS.values()} == set(DatasetFormat)


def read(spec: DatasetSpec) -> tuple[list[Item], Tally]:
    tally = Tally()
    return list(iterate_items(spec, tally)), tally


def texts_of(item: Item) -> list[str]:
    said = [part for turn in item.turns for part in turn] if item.turns else [item.question]
    return [
        item.item_id,
        *said,
        *item.answers,
        *item.wrong_answers,
        *([item.context] if item.context else []),
    ]


def require_accounted_for(path: Path, form: DatasetFormat) -> list[Item] | None:
    """Read a file; every row is an item or counted, or the file is refused with its name."""
    spec = DatasetSpec(name="d", format=form, path=path)
    found, message = outcome(read, spec)
    if found is None:
        assert message is not None
        assert message.startswith(str(path)), message
        assert len(message) < 1000, message
        return None
    items, tally = found
    assert items
    assert tally.n_items == len(items)
    assert tally.n_rows == tally.n_items + tally.n_duplicates
    assert len({item.item_id for item in items}) == len(items)
    for item in items:
        for text in texts_of(item):
            text.encode()  # it can be asked, and written
            assert "\0" not in text
    return items


@pytest.mark.parametrize("kind", KINDS)
def test_a_valid_file_is_read_whole(kind: str, tmp_path: Path) -> None:
    # What is damaged below is whole before.
    form, suffix, valid, write = KINDS[kind]
    path = tmp_path / f"d.{suffix}"
    path.write_bytes(write(valid))
    items = require_accounted_for(path, form)
    assert items is not None
    assert len(items) == (3 if valid is ITEMS else 1 if valid is CSV_TRUTHFULQA else 2)


@pytest.mark.parametrize("kind", KINDS)
@effort(0.4)
@given(data=st.data())
def test_every_row_of_a_damaged_file_is_an_item_or_counted_or_the_file_is_refused(
    kind: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    form, suffix, valid, write = KINDS[kind]
    path = tmp_path_factory.getbasetemp() / f"damaged-{kind}.{suffix}"
    value = valid if isinstance(valid, bytes) else data.draw(mutated(valid))
    whole = write(value)
    content = data.draw(damaged(whole)) if isinstance(valid, bytes) or data.draw(st.booleans()) else whole
    path.write_bytes(content)
    items = require_accounted_for(path, form)
    if items is None or content != whole or write is not as_lines or not isinstance(value, list):
        return
    # Line by line, what was read is what stands there.
    rows = [row for row in value if row is not None]
    questions = [
        " ".join(str(row[key]).split()) for row in rows for key in ("question", "text") if key in row
    ]
    if form is not DatasetFormat.CHATS:
        found = [" ".join(item.question.split()) for item in items]
        left = iter(questions)
        assert all(question in left for question in found)  # in their order, none made up
        assert set(found) == set(questions)  # none lost; what is left out is counted, and said the same


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", ["bom", "crlf", "blank lines", "no last newline"])
def test_what_an_editor_does_to_a_file_changes_no_item(kind: str, change: str, tmp_path: Path) -> None:
    form, suffix, valid, write = KINDS[kind]
    path = tmp_path / f"d.{suffix}"
    path.write_bytes(write(valid))
    before = require_accounted_for(path, form)
    content = write(valid).replace(b"\r\n", b"\n")
    changed = {
        "bom": b"\xef\xbb\xbf" + content,
        "crlf": content.replace(b"\n", b"\r\n"),
        "blank lines": b"\n\n" + content + b"\n\n  \n",
        "no last newline": content.rstrip(b"\n"),
    }[change]
    path.write_bytes(changed)
    assert require_accounted_for(path, form) == before


def damages() -> list[tuple[str, bytes, str]]:
    row = b'{"id": "1", "question": "Who?", "answers": ["Ann"]}\n'
    return [
        (
            "items",
            row.replace(b"Who", b"\\ud800"),
            "d.jsonl:1: question: the text holds half of a surrogate pair",
        ),
        ("items", row.replace(b"Ann", b"A\\u0000n"), "d.jsonl:1: answers: the text holds a NUL character"),
        (
            "items",
            row.replace(b'"id"', b'"question": "What?", "id"'),
            "d.jsonl:1: key 'question' stands twice",
        ),
        ("jsonl", row.replace(b'"id"', b'"id": "2", "id"'), "d.jsonl:1: key 'id' stands twice"),
        ("squad", b'{"data": [], "data": []}', "d.json: key 'data' stands twice in one object"),
        ("prompts", b"Who rows?\rWho swims?\r", "d.txt:1: lines end in a carriage return alone"),
        ("texts", b"Ann rows.\r\rBo swims.\n", "d.txt:1: lines end in a carriage return alone"),
        ("prompts", "Who rows?\n".encode("utf-16-le"), "d.txt:1: question: the text holds a NUL character"),
    ]


@pytest.mark.parametrize(("kind", "content", "message"), damages())
def test_what_cannot_be_meant_is_refused_by_its_place(
    kind: str, content: bytes, message: str, tmp_path: Path
) -> None:
    form, suffix, _, _ = KINDS[kind]
    path = tmp_path / f"d.{suffix}"
    path.write_bytes(content)
    _, said = outcome(read, DatasetSpec(name="d", format=form, path=path))
    assert said is not None
    assert message in said


def test_a_large_number_is_the_answer_that_stands_there(tmp_path: Path) -> None:
    # As a floating-point number it is 12345678901234567168.
    path = tmp_path / "d.json"
    for written in ("12345678901234567891", '"12345678901234567891"', '" 12345678901234567891 "'):
        path.write_text(f'[{{"ID": "1", "Body": "b", "Question": "q", "Answer": {written}}}]')
        (item,), _ = read(DatasetSpec(name="d", format=DatasetFormat.SVAMP, path=path))
        assert item.answers == ("12345678901234567891",)


@pytest.mark.parametrize("delimiter", ["\n", "\r", '"'])
def test_a_delimiter_that_csv_has_a_use_for_is_refused(delimiter: str) -> None:
    value = {"name": "d", "format": "csv", "path": "p", "columns": {"delimiter": delimiter}}
    _, message = outcome(validate, DatasetSpec, value, "d.yaml")
    assert message is not None
    assert re.match(r"d.yaml: columns.delimiter: found ", message)
