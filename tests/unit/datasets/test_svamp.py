from pathlib import Path
from typing import Any

import pytest

from overnight.datasets.reading import read_items
from overnight.records import AnswerRule, ItemType
from overnight.spec.dataset import DatasetSpec

ROW = {
    "ID": "chal-1",
    "Body": "Mia has 7  shells. She finds 5 more.",
    "Question": "How many shells has Mia?",
    "Equation": "( 7.0 + 5.0 )",
    "Answer": 12.0,
    "Type": "Addition",
}


def test_the_body_and_the_question_are_asked_and_the_number_is_the_gold(read: Any) -> None:
    (item,) = read("svamp", [ROW])
    assert item.question == "Mia has 7 shells. She finds 5 more. How many shells has Mia?"
    assert item.answers == ("12",)
    assert (item.item_id, item.type, item.rule) == ("chal-1", ItemType.CLOSED, AnswerRule.NUMERIC)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [(51.0, "51"), (51, "51"), ("51.0", "51"), (0.5, "0.5"), (-3.0, "-3"), ("2.50", "2.5")],
)
def test_a_gold_is_the_shortest_text_of_its_number(read: Any, answer: object, gold: str) -> None:
    assert read("svamp", [ROW | {"Answer": answer}])[0].answers == (gold,)


@pytest.mark.parametrize("answer", ["twelve", "", None, True, [12], float("nan"), float("inf"), "1e999"])
def test_what_is_no_number_is_no_gold(refusal: Any, answer: object) -> None:
    said = refusal("svamp", [ROW, ROW | {"ID": "chal-2", "Answer": answer}])
    assert said.startswith("d.txt: [1]: Answer: found ")
    assert said.endswith("wanted a number")


def test_the_rule_can_be_chosen(read: Any) -> None:
    assert read("svamp", [ROW], rule="squad")[0].rule is AnswerRule.SQUAD


def test_another_list_is_no_svamp(refusal: Any) -> None:
    assert refusal("svamp", [{"id": "1"}]) == "d.txt: [0]: no key 'ID'; there are: id"


def test_the_public_file_has_1000_problems(shared_data: Path) -> None:
    items = read_items(DatasetSpec(name="s", format="svamp", path=shared_data / "svamp" / "SVAMP.json"))
    assert len(items) == len({item.item_id for item in items}) == 1000
    # Every public answer is a whole number; golds show no ".0".
    assert all(answer.lstrip("-").isdigit() for item in items for answer in item.answers)
