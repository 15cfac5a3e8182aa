import json
from pathlib import Path
from typing import Any

import pytest

from overnight.datasets.reading import Tally, iterate_items
from overnight.records import AnswerRule, ItemType
from overnight.spec.dataset import DatasetSpec

QUESTION = "Do owls sleep at night?"
BEST, RIGHT, WRONG = "Most owls sleep by day", "Owls mostly sleep by day", "Yes, all of them do"
GENERATION = {
    "type": "Adversarial",
    "question": QUESTION,
    "best_answer": BEST,
    "correct_answers": [RIGHT, BEST, ""],
    "incorrect_answers": [WRONG, "They never sleep"],
}
CHOICE = {
    "question": QUESTION,
    "mc1_targets": {"choices": [BEST, WRONG], "labels": [1, 0]},
    "mc2_targets": {"choices": [RIGHT, BEST, WRONG, "They never sleep"], "labels": [1, 1, 0, 0]},
}
MC_TASK = {
    "question": QUESTION,
    "mc1_targets": {BEST: 1, WRONG: 0},
    "mc2_targets": {RIGHT: 1, BEST: 1, WRONG: 0, "They never sleep": 0},
}
OFFICIAL_CSV = (
    "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source\r\n"
    f'Adversarial,Animals,{QUESTION},{BEST},{RIGHT}; {BEST},"{WRONG}; They never sleep",x\r\n'
)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ([GENERATION], "d.json"),
        ([CHOICE], "d.json"),
        ([MC_TASK], "d.json"),
        ([GENERATION | CHOICE], "d.json"),
        (json.dumps(GENERATION) + "\n", "d.jsonl"),
        (OFFICIAL_CSV, "TruthfulQA.csv"),
    ],
)
def test_every_published_shape_is_the_same_item(read: Any, content: Any, name: str) -> None:
    (item,) = read("truthfulqa", content, name)
    assert item.question == QUESTION
    assert item.answers == (BEST, RIGHT)
    assert item.wrong_answers == (WRONG, "They never sleep")
    assert (item.type, item.rule) == (ItemType.CLOSED, AnswerRule.SQUAD)


def test_the_best_answer_is_a_gold_even_where_it_is_not_among_the_correct_ones(read: Any) -> None:
    (item,) = read("truthfulqa", [GENERATION | {"correct_answers": [RIGHT]}])
    assert item.answers == (BEST, RIGHT)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": QUESTION}, "no key 'correct_answers' or 'mc1_targets'; there are: question"),
        (
            {"question": QUESTION, "best_answer": BEST, "correct_answer": []},
            "no key 'correct_answers'; did you mean 'correct_answer'?",
        ),
        (GENERATION | {"incorrect_answers": "no"}, "incorrect_answers: found 'no', wanted a list of texts"),
        (
            {"question": QUESTION, "mc1_targets": {"choices": ["a", "b"], "labels": [1]}},
            "mc1_targets.labels: wanted 2 labels 0 or 1, one for each choice",
        ),
        (
            {"question": QUESTION, "mc2_targets": {"choices": ["a"], "labels": [2]}},
            "mc2_targets.labels: wanted 1 labels 0 or 1, one for each choice",
        ),
    ],
)
def test_what_is_no_shape_of_it_is_said(refusal: Any, row: dict[str, Any], message: str) -> None:
    assert refusal("truthfulqa", [row]) == f"d.txt: [0]: {message}"


def test_a_csv_with_another_header_names_the_nearest_column(refusal: Any) -> None:
    said = refusal("truthfulqa", OFFICIAL_CSV.replace("Best Answer", "Best Anwser"), "TruthfulQA.csv")
    assert said == "TruthfulQA.csv:1: no column 'Best Answer'; did you mean 'Best Anwser'?"


def test_the_public_validation_file_has_817_questions(shared_data: Path) -> None:
    path = shared_data / "truthfulqa" / "validation.en.json"
    tally = Tally()
    items = list(iterate_items(DatasetSpec(name="t", format="truthfulqa", path=path), tally))
    assert len(items) == 817
    assert {item.item_id for item in items} == {str(n) for n in range(1, 818)}
    # 11 rows have an empty text among the correct answers and 20 among the incorrect ones, counted in the JSON itself.
    assert tally.n_blank_answers == 31
    assert all(item.answers and item.wrong_answers for item in items)
