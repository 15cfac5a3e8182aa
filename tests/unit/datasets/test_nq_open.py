import json
from pathlib import Path
from typing import Any

import pytest

from overnight.datasets.reading import read_items
from overnight.records import AnswerRule, ItemType
from overnight.spec.dataset import DatasetSpec

ROW = {"question": "who keeps the  lighthouse", "answer": ["Mr Hale", "Hale", "Mr  Hale"]}


def jsonl(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_golds_keep_their_order_each_once(read: Any) -> None:
    (item,) = read("nq_open", jsonl(ROW))
    assert (item.question, item.answers) == ("who keeps the lighthouse", ("Mr Hale", "Hale"))
    assert (item.type, item.rule) == (ItemType.CLOSED, AnswerRule.SQUAD)


def test_an_id_is_kept_where_there_is_one_and_made_of_the_question_elsewhere(read: Any) -> None:
    with_id, without = read("nq_open", jsonl(ROW | {"id": 7}, ROW))
    assert with_id.item_id == "7"
    assert len(without.item_id) == 16
    assert read("nq_open", jsonl(ROW))[0].item_id == without.item_id


def test_a_json_list_reads_like_lines(read: Any) -> None:
    assert read("nq_open", [ROW]) == read("nq_open", jsonl(ROW))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            jsonl(ROW, {"question": "who", "answers": ["x"]}),
            "d.txt:2: no key 'answer'; did you mean 'answers'?",
        ),
        (jsonl(ROW, ROW | {"answer": "x"}), "d.txt:2: answer: found 'x', wanted a list of texts"),
        (jsonl(ROW, ROW | {"question": 3}), "d.txt:2: question: found 3, wanted a text"),
        (
            jsonl(ROW, {"question": "q", "answer": [""]}),
            "d.txt:2: answers: empty; a closed-book item needs at least",
        ),
        (
            jsonl(ROW) + '{"question": "wh',
            "d.txt:2: not JSON (Unterminated string starting at); one object a line",
        ),
        ([ROW, 3], "d.txt: [1]: found 3, wanted a JSON object"),
        ("", "d.txt: no items in it; dataset 'd' needs at least one"),
    ],
)
def test_what_is_no_row_is_said_with_its_place(refusal: Any, content: Any, message: str) -> None:
    assert refusal("nq_open", content).startswith(message)


def test_the_public_dev_file_has_3610_questions(shared_data: Path) -> None:
    path = shared_data / "nq_open" / "NQ-open.dev.jsonl"
    items = read_items(DatasetSpec(name="n", format="nq_open", path=path))
    assert len(items) == len({item.item_id for item in items}) == 3610
