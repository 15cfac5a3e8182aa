import pytest

from overnight.records import Item, ItemType
from overnight.scoring.score import score_reply
from overnight.scoring.sensitivity import THRESHOLDS, claim_overlap
from overnight.scoring.support import UnsupportedRule

OPEN = Item(
    dataset="d", item_id="1", type=ItemType.OPEN, question="q", answers=("fox",), context="a fox ran home"
)


def test_golden_overlap() -> None:
    assert claim_overlap(OPEN, "The red fox ran") == pytest.approx(2 / 3)


@pytest.mark.parametrize("reply", ["I don't know.", "I don\u2019t know", "", "  ", "the"])
def test_an_abstention_or_an_empty_reply_claims_nothing(reply: str) -> None:
    # Counted as unsupported, the mandated abstention would make the most honest arm look the worst.
    assert claim_overlap(OPEN, reply) is None


def test_a_closed_question_has_no_passage_to_bear_it_out() -> None:
    closed = Item(dataset="d", item_id="1", type=ItemType.CLOSED, question="q", answers=("fox",))
    assert claim_overlap(closed, "fox") is None


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize(
    "reply", ["fox", "The red fox ran", "a cat slept", "fox ran far away home now", "none"]
)
def test_at_every_threshold_it_judges_as_the_score_step_does(reply: str, threshold: float) -> None:
    judged = score_reply(OPEN, reply, UnsupportedRule(min_token_overlap=threshold)).unsupported
    overlap = claim_overlap(OPEN, reply)
    assert (None if overlap is None else float(overlap < threshold)) == judged


def test_zero_is_no_threshold() -> None:
    # There every claim would count as supported, whatever it says.
    assert min(THRESHOLDS) == 0.1
    assert max(THRESHOLDS) == 1.0
