import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.records import AnswerRule, Item, ItemType
from overnight.scoring.numbers import number_match, reply_number
from overnight.scoring.score import score_reply
from overnight.scoring.support import UnsupportedRule


def item(*answers: str) -> Item:
    return Item(
        dataset="svamp",
        item_id="1",
        type=ItemType.CLOSED,
        question="How many?",
        answers=answers,
        rule=AnswerRule.NUMERIC,
    )


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("51", 51),
        ("51.0", 51),
        ("51.", 51),
        ("**51**", 51),
        ("$51.00", 51),
        ("51 dollars", 51),
        ("51kg", 51),
        ("50%", 50),
        ("1,234,567.5", 1234567.5),
        ("1\u202f234", 1234),
        ("-5", -5),
        ("\u22125", -5),
        ("-$5", -5),
        ("$-5", -5),
        ("76-25", 25),  # between two numbers it is a subtraction
        (".5", 0.5),
        ("3/4", 0.75),
        ("1 1/2", 1.5),
        ("\u00bd", 0.5),
        ("2\u00bd", 2.5),
        (r"\frac{3}{4}", 0.75),
        ("2 million", 2e6),
        ("1e3", 1000),
        ("fifty-one", 51),
        ("two hundred and six apples", 206),
        ("Twelve thousand three hundred", 12300),
        ("a million", 1e6),
    ],
)
def test_a_number_is_read_however_it_is_written(text: str, number: float) -> None:
    assert reply_number(text) == pytest.approx(number)


@pytest.mark.parametrize(
    "reply",
    [
        "76 - 25 = 51",
        "Each pack costs 76 dollars, less 25: 51",
        "The answer is 51.",
        "The answer is 51, because 76 - 25 is that.",
        "The answer is 76 - 25 = 51 dollars in 2 days.",
        "The answer is 3 packs of 17, that is 51. I checked it 2 times.",
        "Answer: $51 for 1 pack",
        "The final answer to the question is: **51**",
        "25 off\n#### 51\n",
        r"so \boxed{51}",
        "51 is the answer.",
        "The answer is:\n\n51 apples\nand 7 pears",
    ],
)
def test_the_number_of_a_reply_is_the_one_it_ends_on_or_calls_its_answer(reply: str) -> None:
    assert number_match(reply, ["51.0"]) == 1.0


@pytest.mark.parametrize("text", ["", "none", "B12", "v1.2.3", "1/0", "9" * 5000])
def test_what_is_no_number_is_none(text: str) -> None:
    assert reply_number(text) is None


@pytest.mark.parametrize(
    ("reply", "match"),
    [("0.3333333", 1.0), ("0.33333", 0.0), ("1/3", 1.0), ("-0.333333333", 0.0), ("I cannot tell", 0.0)],
)
def test_numbers_are_equal_within_a_millionth(reply: str, match: float) -> None:
    assert number_match(reply, ["1/3"]) == match


def test_without_a_number_among_the_golds_nothing_is_right_or_wrong() -> None:
    assert number_match("5", ["many"]) is None
    score = score_reply(item("many"), "5", UnsupportedRule())
    assert (score.exact_match, score.f1) == (None, None)


def test_any_of_several_golds_counts() -> None:
    assert [number_match(reply, ["4", "many", "5"]) for reply in ("5", "4.0", "45")] == [1.0, 1.0, 0.0]


def test_an_abstention_is_no_answer_whatever_numbers_it_names() -> None:
    score = score_reply(item("51"), "I cannot answer the question with 51 apples", UnsupportedRule())
    assert (score.exact_match, score.f1, score.is_abstention) == (0.0, 0.0, True)


def test_a_number_is_right_or_wrong_and_nothing_between() -> None:
    score = score_reply(item("51"), "51 dollars", UnsupportedRule())
    assert (score.exact_match, score.f1) == (1.0, 1.0)
    assert score_reply(item("51"), "about 50 dollars", UnsupportedRule()).f1 == 0.0


@given(st.integers(-(10**12), 10**12))
def test_grouping_and_decimals_do_not_change_a_number(number: int) -> None:
    for text in (f"{number}", f"{number:,}", f"{number:,}.00", f"The answer is {number} apples."):
        assert number_match(text, [f"{number}"]) == 1.0


@given(st.text(max_size=40) | st.text("0123456789,./-$ e\u00bd", max_size=40))
def test_any_text_has_one_finite_number_or_none(text: str) -> None:
    number = reply_number(text)
    assert number is None or abs(number) < float("inf")


def test_the_answers_of_real_word_problems_are_read_in_a_sentence(shared_data: Path) -> None:
    problems = json.loads((shared_data / "svamp" / "SVAMP.json").read_text(encoding="utf-8"))
    assert len(problems) == 1000
    for problem in problems:
        gold = problem["Answer"]
        reply = f"{problem['Body']}. So the answer is ${gold:,.1f}, because {problem['Equation']}"
        assert number_match(reply, [str(gold)]) == 1.0
        assert number_match(f"{gold + 1}", [str(gold)]) == 0.0
