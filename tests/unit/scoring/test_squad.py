import json
from collections.abc import Callable
from pathlib import Path

import pytest

from overnight.errors import UndefinedMetricError
from overnight.records import AnswerRule, Item, ItemType
from overnight.scoring.score import score_reply
from overnight.scoring.squad import squad_figures
from overnight.scoring.support import UnsupportedRule


def item(item_id: str, *answers: str, rule: AnswerRule = AnswerRule.SQUAD) -> Item:
    return Item(
        dataset="squad_v2",
        item_id=item_id,
        type=ItemType.OPEN,
        question="Where?",
        answers=answers,
        context="The fox ran home to Paris.",
        rule=rule,
    )


@pytest.fixture(scope="module")
def dev_set(shared_data: Path) -> list[Item]:
    data = json.loads((shared_data / "squad_v2" / "dev-v2.0.cs224n-half.json").read_text(encoding="utf-8"))
    return [
        item(question["id"], *(answer["text"] for answer in question["answers"]))
        for article in data["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]


@pytest.mark.parametrize(
    ("predict", "exact", "f1", "has_exact", "has_f1"),
    [
        # What the official evaluator printed for these three predictors on this file.
        (lambda _: "", 52.122409, 52.122409, 0.0, 0.0),
        (lambda golds: golds[0] if golds else "", 100.0, 100.0, 100.0, 100.0),
        (lambda golds: f"{golds[0]} {golds[0]}" if golds else "", 52.122409, 84.044739, 0.0, 66.674888),
    ],
    ids=["empty", "first gold", "first gold twice"],
)
def test_the_figures_are_those_of_the_official_evaluator(
    dev_set: list[Item],
    predict: Callable[[tuple[str, ...]], str],
    exact: float,
    f1: float,
    has_exact: float,
    has_f1: float,
) -> None:
    figures = squad_figures({i.item_id: predict(i.answers) for i in dev_set}, dev_set)
    assert list(figures) == [
        *("exact", "f1", "total", "HasAns_exact", "HasAns_f1", "HasAns_total"),
        *("NoAns_exact", "NoAns_f1", "NoAns_total"),
    ]
    # 6,078 questions, 3,168 of them unanswerable.
    assert (figures["total"], figures["HasAns_total"], figures["NoAns_total"]) == (6078, 2910, 3168)
    found = [figures[key] for key in ("exact", "f1", "HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1")]
    assert found == pytest.approx([exact, f1, has_exact, has_f1, 100.0, 100.0], abs=5e-7)


def test_a_split_without_items_has_no_keys_as_with_the_official_evaluator() -> None:
    assert squad_figures({"1": "Paris"}, [item("1", "Paris")]) == {
        "exact": 100.0,
        "f1": 100.0,
        "total": 1,
        "HasAns_exact": 100.0,
        "HasAns_f1": 100.0,
        "HasAns_total": 1,
    }


def test_an_item_without_a_prediction_is_left_out_as_with_the_official_evaluator() -> None:
    figures = squad_figures({"1": "Rome"}, [item("1", "Paris"), item("2", "Paris")])
    assert (figures["exact"], figures["total"]) == (0.0, 1)


def test_no_predictions_have_no_figures() -> None:
    with pytest.raises(UndefinedMetricError, match="no items"):
        squad_figures({}, [item("1")])


def test_only_the_official_figures_take_silence_for_an_answer() -> None:
    # An abstention is handed in as the empty string; what is empty stays so, and is a failure in our own score.
    silent = score_reply(item("1"), "", UnsupportedRule())
    abstaining = score_reply(item("1"), "I don't know.", UnsupportedRule())
    wrong = score_reply(item("1"), "Rome", UnsupportedRule())
    assert [(s.exact_match, s.squad_exact, s.squad_f1) for s in (silent, abstaining, wrong)] == [
        (0.0, 1.0, 1.0),
        (1.0, 1.0, 1.0),
        (0.0, 0.0, 0.0),
    ]


def test_other_rules_have_no_squad_score() -> None:
    assert score_reply(item("1", "5", rule=AnswerRule.NUMERIC), "5", UnsupportedRule()).squad_exact is None
