import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.scoring.correctness import exact_match, token_f1

SQUAD = Path(__file__).parents[4] / "shared/data/squad_v2/dev-v2.0.cs224n-half.json"
WORDS = st.lists(st.sampled_from(["red", "fox", "ran", "the", "home"]), max_size=6).map(" ".join)


@pytest.mark.parametrize(
    ("prediction", "gold", "em", "f1"),
    [
        ("Paris, France", "Paris", 0.0, 2 / 3),  # P 1/2, R 1
        ("New-York", "newyork", 1.0, 1.0),
        ("U.S.", "US", 1.0, 1.0),
        ("the", "a", 1.0, 1.0),  # both empty
        ("“Paris”", "Paris", 0.0, 0.0),
        ("", "Paris", 0.0, 0.0),
        ("fox fox", "fox", 0.0, 2 / 3),  # a repeated word is common once: P 1/2, R 1
    ],
)
def test_golden_pairs(prediction: str, gold: str, em: float, f1: float) -> None:
    assert exact_match(prediction, [gold]) == em
    assert token_f1(prediction, [gold]) == pytest.approx(f1)


def test_without_golds_only_the_empty_prediction_is_right() -> None:
    assert (exact_match("", []), token_f1("", [])) == (1.0, 1.0)
    assert (exact_match("Paris", []), token_f1("Paris", [])) == (0.0, 0.0)


def test_a_gold_of_which_nothing_is_left_is_no_gold() -> None:
    # The official evaluator drops it, so an article does not answer a question that Paris answers.
    assert exact_match("the", ["a", "Paris"]) == 0.0


@given(WORDS, st.lists(WORDS, max_size=4))
def test_the_best_gold_counts_whatever_the_order(prediction: str, golds: list[str]) -> None:
    f1 = token_f1(prediction, golds)
    assert f1 == token_f1(prediction, golds[::-1])
    assert exact_match(prediction, golds) <= f1 <= 1.0


@given(WORDS, WORDS)
def test_f1_is_symmetric_in_prediction_and_gold(one: str, other: str) -> None:
    assert token_f1(one, [other]) == token_f1(other, [one])


@pytest.mark.skipif(not SQUAD.exists(), reason=f"the SQuAD 2.0 half is not at {SQUAD}")
@pytest.mark.parametrize(
    ("predictor", "exact", "f1", "has_answer_f1"),
    [
        # Percentages by the official evaluator, from shared/data/README.md.
        (lambda _: "", 52.122409, 52.122409, 0.0),
        (lambda golds: golds[0] if golds else "", 100.0, 100.0, 100.0),
        (lambda golds: f"{golds[0]} {golds[0]}" if golds else "", 52.122409, 84.044739, 66.674888),
    ],
    ids=["empty", "first gold", "first gold twice"],
)
def test_squad_dev_scores_as_the_official_evaluator_does(
    predictor: Any, exact: float, f1: float, has_answer_f1: float
) -> None:
    data = json.loads(SQUAD.read_text(encoding="utf-8"))["data"]
    golds = [
        [answer["text"] for answer in question["answers"]]
        for article in data
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]
    em_of = [exact_match(predictor(g), g) for g in golds]
    f1_of = [token_f1(predictor(g), g) for g in golds]
    answerable = [score for score, g in zip(f1_of, golds, strict=True) if g]
    assert len(golds) == 6078
    assert 100 * sum(em_of) / len(em_of) == pytest.approx(exact, abs=5e-7)
    assert 100 * sum(f1_of) / len(f1_of) == pytest.approx(f1, abs=5e-7)
    assert 100 * sum(answerable) / len(answerable) == pytest.approx(has_answer_f1, abs=5e-7)
