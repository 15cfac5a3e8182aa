import subprocess
import sys
from dataclasses import replace

import pytest

from overnight.records import Item, ItemType, Score
from overnight.scoring.score import score_reply
from overnight.scoring.support import UnsupportedRule

RULE = UnsupportedRule()
PASSAGE = "The fox ran home to Paris in 1820."


def item(*answers: str, item_type: ItemType = ItemType.OPEN, context: str | None = PASSAGE) -> Item:
    return Item(
        dataset="squad_v2", item_id="1", type=item_type, question="Where?", answers=answers, context=context
    )


def score(
    exact_match: float | None,
    f1: float | None,
    false_answer: float | None,
    unsupported: float | None,
    kind: str = "answer",
    squad: float | None = None,
) -> Score:
    return Score(
        exact_match=exact_match,
        f1=f1,
        is_abstention=kind == "abstention",
        is_empty=kind == "empty",
        false_answer=false_answer,
        unsupported=unsupported,
        squad_exact=squad,
        squad_f1=squad,
    )


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("I don't know.", score(1.0, 1.0, 0.0, None, "abstention", squad=1.0)),
        ("Paris", score(0.0, 0.0, 1.0, 0.0, squad=0.0)),
        ("Berlin", score(0.0, 0.0, 1.0, 1.0, squad=0.0)),
        # Unlike the SQuAD evaluator: silence is a failure of the model, not knowledge of its ignorance.
        ("", score(0.0, 0.0, 0.0, None, "empty", squad=1.0)),
    ],
)
def test_an_unanswerable_item_wants_an_abstention(reply: str, expected: Score) -> None:
    assert score_reply(item(), reply, RULE) == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Paris.", score(1.0, 1.0, None, 0.0)),
        ("Paris, France", score(0.0, 2 / 3, None, 1.0)),  # 1 of 2 words in the passage is below .6
        ("I don't know.", score(0.0, 0.0, None, None, "abstention")),
        ("", score(0.0, 0.0, None, None, "empty")),
    ],
)
def test_an_answerable_item_has_no_false_answer(reply: str, expected: Score) -> None:
    # Averaged over answerable items too, the original's rate was diluted to about a half.
    found = score_reply(item("Paris", "the city of Paris"), reply, RULE)
    assert (found.squad_exact, found.squad_f1) == (expected.exact_match, expected.f1)
    assert replace(found, squad_exact=None, squad_f1=None) == expected


def test_a_closed_item_has_neither_false_answers_nor_unsupported_claims() -> None:
    closed = item("Paris", item_type=ItemType.CLOSED, context=None)
    assert score_reply(closed, "Rome", RULE) == score(0.0, 0.0, None, None)
    assert score_reply(closed, "unknown", RULE) == score(0.0, 0.0, None, None, "abstention")
    assert score_reply(item("Paris", item_type=ItemType.CLOSED), "Rome", RULE).unsupported is None


def test_a_closed_item_without_golds_has_no_correctness() -> None:
    assert score_reply(item(item_type=ItemType.CLOSED), "Rome", RULE) == score(None, None, None, None)


def test_a_reply_that_equals_the_gold_answers_even_if_it_reads_like_an_abstention() -> None:
    assert score_reply(item("unknown"), "Unknown.", RULE) == score(1.0, 1.0, None, 1.0, squad=1.0)


def test_an_abstention_earns_nothing_for_naming_what_it_does_not_know() -> None:
    reply = "The passage does not mention the king of France."
    assert score_reply(item("the king of France"), reply, RULE).f1 == 0.0


def test_an_open_item_without_a_passage_is_an_error_with_its_key() -> None:
    with pytest.raises(ValueError, match=r"squad_v2\|1"):
        score_reply(item("Paris", context=None), "Paris", RULE)


def test_scoring_needs_the_standard_library_only() -> None:
    code = (
        "import sys, overnight.scoring.score, overnight.scoring.aggregate;"
        "print([m for m in ('numpy', 'scipy', 'pandas', 'nltk') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
