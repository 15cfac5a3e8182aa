import ast
import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.records import AnswerRule
from overnight.scoring.correctness import exact_match, token_f1

WORD_RULES = [AnswerRule.SQUAD, AnswerRule.TRIVIAQA]
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


@pytest.mark.parametrize(
    ("prediction", "aliases", "em", "f1"),
    [
        ("New York", ["New-York"], 1.0, 1.0),  # the SQuAD rule has "newyork" here
        ("newyork", ["New-York"], 0.0, 0.0),
        ("US", ["U.S."], 0.0, 0.0),
        ("The Beatles!", ["Beatles", "The Fab Four"], 1.0, 1.0),
        ("fab four band", ["Beatles", "The Fab Four"], 0.0, 0.8),  # P 2/3, R 1
        (
            "the",
            ["The The", "Matt Johnson"],
            1.0,
            1.0,
        ),  # its evaluator keeps the alias of which nothing is left
        ("", ["Paris"], 0.0, 0.0),
    ],
)
def test_triviaqa_compares_with_every_alias_by_its_own_rule(
    prediction: str, aliases: list[str], em: float, f1: float
) -> None:
    assert exact_match(prediction, aliases, AnswerRule.TRIVIAQA) == em
    assert token_f1(prediction, aliases, AnswerRule.TRIVIAQA) == pytest.approx(f1)


PUNCTUATED = st.text("ab the-._'\u2019 ", max_size=12)


@pytest.mark.parametrize("rule", WORD_RULES)
@given(prediction=PUNCTUATED, golds=st.lists(PUNCTUATED, max_size=3))
def test_what_matches_exactly_has_all_its_words(rule: AnswerRule, prediction: str, golds: list[str]) -> None:
    if exact_match(prediction, golds, rule):
        assert token_f1(prediction, golds, rule) == 1.0


@pytest.mark.parametrize("rule", WORD_RULES)
@given(words=st.permutations(["red", "fox", "ran", "home", "fox"]))
def test_f1_sees_a_bag_of_words(rule: AnswerRule, words: list[str]) -> None:
    # 3 of 5 predicted words are among the 4 of the gold, whatever their order: 2 * 3 / 9.
    assert token_f1(" ".join(words), ["home fox ran by"], rule) == pytest.approx(2 / 3)


def test_any_alias_of_a_real_question_is_right(shared_data: Path) -> None:
    # 300 questions of TriviaQA's development set: its evaluator takes each alias for the answer.
    for aliases in _triviaqa_aliases(shared_data / "triviaqa" / "trivia.dev.txt", 300):
        assert all(exact_match(alias, aliases, AnswerRule.TRIVIAQA) == 1.0 for alias in aliases)


def test_any_gold_of_a_real_open_question_is_right(shared_data: Path) -> None:
    # NQ-Open counts a prediction that equals any of its golds; 1000 lines of its development set.
    with (shared_data / "nq_open" / "NQ-open.dev.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line, _ in zip(file, range(1000), strict=False)]
    assert any(len(row["answer"]) > 1 for row in rows)
    assert all(exact_match(gold, row["answer"]) == 1.0 for row in rows for gold in row["answer"])


def _triviaqa_aliases(path: Path, n: int) -> Iterator[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        for _, (_, aliases) in zip(range(n), csv.reader(file, delimiter="\t"), strict=False):
            yield ast.literal_eval(aliases)
