import pytest

from overnight.records import Item, ItemType
from overnight.scoring.rouge import rouge_accuracy, rouge_l
from overnight.scoring.score import score_reply
from overnight.scoring.support import UnsupportedRule

RULE = UnsupportedRule()


def item(*wrong: str) -> Item:
    return Item(
        dataset="truthful",
        item_id="1",
        type=ItemType.CLOSED,
        question="What happens?",
        answers=("nothing happens to you", "the seeds pass through"),
        wrong_answers=wrong,
    )


def test_rouge_l_by_hand() -> None:
    # Lin (2004), example of section 3.1: "police kill the gunman" shares three words in order with the reference
    # of four (police the gunman), so P = R = F = 3/4; "the gunman kill police" shares two, so F = 1/2.
    reference = ["police killed the gunman"]
    assert rouge_l("police kill the gunman", reference) == pytest.approx(3 / 4)
    assert rouge_l("the gunman kill police", reference) == pytest.approx(1 / 2)


def test_the_best_answer_counts_and_no_answer_gives_none() -> None:
    assert rouge_l("The seeds pass through!", ["no", "the seeds pass through"]) == 1.0
    assert rouge_l("", ["no"]) == 0.0
    assert rouge_l("no", []) is None


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [(0.5, 0.4, 1.0), (0.4, 0.5, 0.0), (0.5, 0.5, 0.0), (None, 0.5, None), (0.5, None, None)],
)
def test_rouge_accuracy_wants_the_right_answer_to_be_strictly_closer(
    right: float | None, wrong: float | None, expected: float | None
) -> None:
    assert rouge_accuracy(right, wrong) == expected


def test_rouge_is_there_only_where_it_was_asked_for_and_is_defined() -> None:
    reply = "Nothing happens to you."
    assert score_reply(item("you die"), reply, RULE).rouge_l is None
    asked = score_reply(item("you die"), reply, RULE, with_rouge=True)
    assert (asked.rouge_l, asked.rouge_accuracy) == (1.0, 1.0)
    without_wrong = score_reply(item(), reply, RULE, with_rouge=True)
    assert (without_wrong.rouge_l, without_wrong.rouge_accuracy) == (1.0, None)
    assert score_reply(item("you die"), "You die", RULE, with_rouge=True).rouge_accuracy == 0.0
