"""Instructions for and against a trait, and which replies a judge lets stand."""

import json
import math
from pathlib import Path

import pytest

from overnight.errors import UsageError
from overnight.traits.instructions import Polarity, read_instruction_set
from overnight.traits.judged_replies import Thresholds, judge_score, keep_replies

FILE = {
    "instructions": [
        {"positive": "Be calm.", "negative": "Be upset."},
        {"positive": "Stay cool.", "negative": "Rage."},
    ],
    "questions": ["Why?", "How so?", "And then?"],
    "eval_prompt": "Q: {question} A: {answer} Score 0-100.",
}


def written(tmp_path: Path, value: object, name: str = "calm.json") -> Path:
    path = tmp_path / name
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_every_question_is_asked_under_every_instruction_of_a_side(tmp_path: Path) -> None:
    found = read_instruction_set(written(tmp_path, FILE))
    prompts = found.prompts(Polarity.NEGATIVE)
    assert found.name == "calm"
    assert len(prompts) == 2 * 3
    assert [(p.system, p.question) for p in prompts[2:4]] == [("Be upset.", "And then?"), ("Rage.", "Why?")]
    # A prompt and its fellow on the other side are at the same place.
    for one, other in zip(prompts, found.prompts(Polarity.POSITIVE), strict=True):
        assert (one.instruction_index, one.question_index) == (other.instruction_index, other.question_index)
        assert one.question == other.question
        assert one.system != other.system


def test_the_names_of_other_tools_make_the_same_set(tmp_path: Path) -> None:
    other = {
        "instruction": [{"pos": i["positive"], "neg": i["negative"]} for i in FILE["instructions"]],
        "questions": FILE["questions"],
        "eval_prompt": FILE["eval_prompt"],
    }
    assert read_instruction_set(written(tmp_path, other, "a.json")).digest == (
        read_instruction_set(written(tmp_path, FILE, "b.yaml")).digest
    )


def test_braces_in_a_question_or_an_answer_mean_themselves(tmp_path: Path) -> None:
    found = read_instruction_set(written(tmp_path, FILE))
    assert found.judge_prompt("{answer}?", "{question} {x}") == "Q: {answer}? A: {question} {x} Score 0-100."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"questions": []}, "questions"),
        ({"questions": ["a", " a "]}, "stands twice"),
        ({"instructions": [{"positive": "a"}]}, "negative"),
        ({"instructions": [{"positive": "a", "negative": " "}]}, "negative"),
        ({"instructions": [{"positive": "a", "negative": "a"}]}, "the same text on both sides"),
        ({"eval_prompt": "Score it."}, r"\{answer\} is not in it"),
        ({"question": ["a"]}, "unknown key 'question'; did you mean 'questions'"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, change: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        read_instruction_set(written(tmp_path, FILE | change))
    assert "calm.json" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_without_an_eval_prompt_nothing_can_be_judged(tmp_path: Path) -> None:
    found = read_instruction_set(written(tmp_path, {k: v for k, v in FILE.items() if k != "eval_prompt"}))
    with pytest.raises(UsageError, match="no eval_prompt"):
        found.judge_prompt("q", "a")


def test_a_score_is_the_mean_of_the_integers_that_might_have_been_said() -> None:
    # Mass .5 + .25 + .125 = .875 on integers; (80 * .5 + 60 * .25 + 100 * .125) / .875 = 67.5 / .875.
    likeliest = [
        ("80", 0.5),
        (" 60", 0.25),
        ("100", 0.125),
        ("101", 0.05),
        ("high", 0.05),
        ("-5", 0.02),
        ("8.5", 0.01),
    ]
    score = judge_score((token, math.log(p)) for token, p in likeliest)
    assert score == pytest.approx(67.5 / 0.875)


def test_tokens_of_one_value_add_up() -> None:
    assert judge_score([("70", math.log(0.2)), ("70\n", math.log(0.2))]) == pytest.approx(70)


@pytest.mark.parametrize(("mass", "expected"), [(0.2499, None), (0.2501, 0.0)])
def test_below_a_quarter_of_the_mass_there_is_no_score(mass: float, expected: float | None) -> None:
    # The bound of the field's judges; a score of 0 is a score, and no score is not 0.
    assert judge_score([("0", math.log(mass)), ("I", math.log(1 - mass))]) == expected


def test_no_integer_at_all_is_no_score() -> None:
    assert judge_score([]) is None
    assert judge_score([("yes", 0.0)], least_mass=0.0) is None


def test_replies_without_a_score_are_on_neither_side() -> None:
    scores = [60.0, 59.9, None, 40.0, 40.1, 100.0, None, 0.0]
    positive, negative = (keep_replies(side, scores) for side in Polarity)
    assert positive.indices == (0, 5)
    assert negative.indices == (3, 7)
    for kept in (positive, negative):
        assert kept.n_unscored == 2
        assert len(kept.indices) + kept.n_unscored + kept.n_off_side == len(scores)
    assert keep_replies(Polarity.POSITIVE, scores, Thresholds(positive_at_least=100)).indices == (5,)
