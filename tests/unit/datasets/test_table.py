import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.datasets.reading import read_items
from overnight.errors import UsageError
from overnight.records import ItemType
from overnight.spec.dataset import DatasetSpec
from overnight.spec.reading import validate

CSV = "id,question,answers\nq1,Who rows?,Ann\nq2,Who swims?,Bo\n"
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc"))).filter(str.strip)


def test_a_table_with_the_default_names_needs_no_mapping(read: Any) -> None:
    one, two = read("csv", CSV)
    assert (one.item_id, one.question, one.answers) == ("q1", "Who rows?", ("Ann",))
    assert (two.item_id, two.type) == ("q2", ItemType.CLOSED)


def test_columns_are_found_by_the_names_that_are_given(read: Any) -> None:
    columns = {
        "id": "key",
        "question": "prompt",
        "answers": "gold",
        "context": "text",
        "wrong_answers": "bad",
        "separator": "|",
        "delimiter": ";",
    }
    table = 'extra;gold;text;key;prompt;bad\nx;Ann| A. Lee ;"Ann rows;\nBo swims.";7;Who rows?;Bo\n'
    (item,) = read("csv", table, columns=columns, type="open")
    assert (item.item_id, item.question, item.answers) == ("7", "Who rows?", ("Ann", "A. Lee"))
    assert (item.context, item.wrong_answers) == ("Ann rows; Bo swims.", ("Bo",))


@pytest.mark.parametrize(
    ("cell", "separator", "answers"),
    [
        ("Ann", None, ("Ann",)),
        ("Ann, Bo", None, ("Ann, Bo",)),
        ('["Ann", "Bo", 3, 0.5, 2.0]', None, ("Ann", "Bo", "3", "0.5", "2")),
        ("Ann;Bo;Ann", ";", ("Ann", "Bo")),
        ("[sic] Ann", ";", ("[sic] Ann",)),
    ],
)
def test_a_cell_holds_one_answer_or_a_json_list_or_texts_between_separators(
    read: Any, cell: str, separator: str | None, answers: tuple[str, ...]
) -> None:
    table = io.StringIO()
    csv.writer(table).writerows([["question", "answers"], ["Who?", cell]])
    (item,) = read("csv", table.getvalue(), columns={"separator": separator})
    assert item.answers == answers


@pytest.mark.parametrize("value", ["Ann", ["Ann"], '["Ann"]'])
def test_a_jsonl_row_may_hold_a_list_or_a_text(read: Any, value: object) -> None:
    (item,) = read(
        "jsonl", json.dumps({"q": "Who?", "a": value, "b": 1}), columns={"question": "q", "answers": "a"}
    )
    assert item.answers == ("Ann",)


def test_an_empty_cell_is_no_answer_and_an_open_item_may_have_none(read: Any, refusal: Any) -> None:
    table = "question,answers,context\nWho?,,Nobody rows.\n"
    (item,) = read("csv", table, type="open")
    assert item.is_unanswerable
    closed = refusal("csv", "question,answers\nWho rows?,Ann\nWho?, \n")
    assert closed == "d.txt:3: answers: empty; a closed-book item needs at least one gold answer"


def test_without_ids_an_id_is_made_of_the_question_and_its_passage(read: Any) -> None:
    table = "question,answers,context\nWho?,Ann,Ann rows.\nWho?,Bo,Bo rows.\nWho?,Bo,Bo rows.\n"
    one, two = read("csv", table, type="open")  # the third says again what the second said
    assert one.item_id != two.item_id
    assert read("csv", "context,answers,question\nBo rows.,Bo,Who?\n", type="open")[0].item_id == two.item_id


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_marks_and_line_ends_of_other_editors_change_nothing(read: Any, mark: bytes, end: bytes) -> None:
    assert read("csv", mark + CSV.encode().replace(b"\n", end)) == read("csv", CSV)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            CSV.replace("question", "Question"),
            "d.txt:1: no column 'question'; did you mean 'Question'?; say which column is which under `columns`",
        ),
        (
            CSV.replace("answers", "gold"),
            "d.txt:1: no column 'answers'; there are: id, question, gold; say which column is which under `columns`",
        ),
        (
            CSV.replace("q2,", "q1,"),
            "d.txt:3: id 'q1' stands on line 2 already; give every item an id of its own",
        ),
        (
            CSV.replace("q2,Who swims?,Bo\n", "q1,Who rows?,Ann\n"),
            "d.txt:3: id 'q1' stands on line 2 already",
        ),
        (CSV + "q3,Who\n", "d.txt:4: 2 cells, the header has 3; quote the cells"),
        (CSV + "q3,Who, what?,Cy\n", "d.txt:4: 4 cells, the header has 3; quote the cells"),
        (
            CSV + 'q3,"Who\nsits?,Cy\n',
            "d.txt:4: not CSV (unexpected end of data); a quote that is never closed?",
        ),
        (CSV.replace("Who swims?", " "), "d.txt:3: question: found ' ', wanted a text"),
        (
            CSV.replace("Bo", '"[""Bo"""'),
            "d.txt:3: answers: found '[\"Bo\"', which begins like a JSON list and is",
        ),
        ('"a\nb",answers\n', "d.txt:1: no column 'question'; there are: a b, answers; say which column"),
        ("id,question,id\n", "d.txt:1: column 'id' stands twice; rename one"),
        ("id,question,answers\n", "d.txt: no items in it; dataset 'd' needs at least one"),
        ("", "d.txt: the file is empty; a header and rows were wanted"),
        (
            CSV.encode() + b"q3,Wh\xe9,Cy\n",
            "d.txt:4: byte 6 of the line is not UTF-8; save the file as UTF-8",
        ),
        (CSV.encode("utf-16"), "d.txt:1: byte 1 of the line is not UTF-8"),
    ],
)
def test_a_bad_table_is_named_by_its_line(refusal: Any, table: Any, message: str) -> None:
    assert refusal("csv", table).startswith(message)


def test_a_row_of_many_lines_is_named_by_its_first(refusal: Any) -> None:
    table = 'question,answers\n"Who\nrows?",Ann\n"Who\nswims?",\n'
    assert refusal("csv", table).startswith("d.txt:4: answers: empty")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "Who?", "answer": "Ann"}, "no column 'answers'; did you mean 'answer'?"),
        (
            {"question": "Who?", "answers": {"a": 1}},
            "answers: found {'a': 1}, wanted a text, a number or a list",
        ),
        (
            {"question": "Who?", "answers": [True]},
            "answers: found True, wanted a text, a number or a list of them",
        ),
        ({"question": "Who?", "answers": ["Ann", " "]}, "answers: a blank answer; take it out"),
        ({"question": "Who?", "answers": [float("nan")]}, "answers: found nan, wanted a number"),
        ({"question": None, "answers": ["Ann"]}, "question: found nothing, wanted a text"),
        ({"id": 1.5, "question": "Who?", "answers": ["Ann"]}, "id: found 1.5, wanted a text"),
    ],
)
def test_a_bad_row_is_named_by_its_line(refusal: Any, row: dict[str, Any], message: str) -> None:
    good = json.dumps({"question": "Who rows?", "answers": "Ann"})
    assert refusal("jsonl", f"{good}\n{json.dumps(row)}\n").startswith(f"d.txt:2: {message}")


def test_a_line_that_was_cut_is_named(refusal: Any) -> None:
    good = json.dumps({"question": "Who rows?", "answers": "Ann"})
    assert refusal("jsonl", f"{good}\n{good[:20]}") == (
        "d.txt:2: not JSON (Unterminated string starting at); one object a line"
    )


@given(st.lists(st.tuples(TEXT, st.lists(TEXT, min_size=1)), min_size=1, max_size=5))
def test_whatever_is_written_as_csv_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, list[str]]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "table.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "question", "answers"])
        writer.writerows([n, question, json.dumps(answers)] for n, (question, answers) in enumerate(rows))
    items = read_items(DatasetSpec(name="d", format="csv", path=path))
    assert [item.question for item in items] == [" ".join(question.split()) for question, _ in rows]
    assert [item.answers for item in items] == [
        tuple(dict.fromkeys(" ".join(answer.split()) for answer in answers)) for _, answers in rows
    ]


def test_a_passage_longer_than_the_csv_module_allows_reads(read: Any) -> None:
    long = "word " * 40_000
    (item,) = read("csv", f"question,answers,context\nWho?,Ann,{long}\n", type="open")
    assert item.context == long.strip()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"columns": {"question": "q"}},
            "columns belong to format csv, jsonl, texts or chats, this is items",
        ),
        (
            {"format": "csv", "columns": {"questoin": "q"}},
            "unknown key 'columns.questoin'; did you mean 'question'?",
        ),
        ({"format": "squad", "hub": "hf:squad_v2"}, "found both of path and hub, wanted one of them"),
        ({"path": None}, "found neither of path and hub, wanted one of them"),
        ({"max_items": -1}, "max_items: found -1, wanted greater than or equal to 0"),
        ({"formt": "csv"}, "unknown key 'formt'; did you mean 'format'?"),
    ],
)
def test_a_specification_that_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        validate(DatasetSpec, {"name": "d", "path": "d.txt"} | fields, Path("d.yaml"))
    assert message in str(caught.value)
