import math
from dataclasses import replace

import pytest

from overnight.engines.protocol import Completion, Step, Token
from overnight.errors import UndefinedMetricError
from overnight.ids import split_custom_id
from overnight.records import FinishReason, Item, ItemType
from overnight.uncertainty.judge_requests import (
    judge_messages,
    judge_name,
    judge_request,
    judge_requests,
    read_reply,
    wording_digest,
)

ITEM = Item(
    dataset="facts",
    item_id="7|b",
    type=ItemType.OPEN,
    question="Who painted it?",
    answers=("Ada", "Ada\nByron"),
    context="A passage that the judge does not need.",
)


def reply(*likeliest: tuple[str, float], taken: tuple[str, float] | None = None) -> Completion:
    tokens = tuple(Token(piece=text.encode(), logprob=logprob) for text, logprob in likeliest)
    first = Token(piece=taken[0].encode(), logprob=taken[1]) if taken else tokens[0]
    return Completion(
        text="",
        finish_reason=FinishReason.LENGTH,
        prompt_tokens=1,
        cached_tokens=0,
        completion_tokens=1,
        token_logprobs=(first.logprob,),
        latency_s=0.1,
        sent={},
        steps=(Step(taken=first, likeliest=tokens),),
    )


def test_a_judge_is_asked_greedily_for_one_token_with_its_alternatives() -> None:
    request = judge_request(ITEM, "Ada Byron", seed=1)
    assert (request.max_new_tokens, request.temperature, request.top_k, request.top_p) == (1, 0.0, 0, 1.0)
    assert request.logprobs
    assert request.alternatives >= 2
    assert request.stop == ()


def test_a_judge_reads_the_question_all_gold_answers_and_the_answer_and_no_passage() -> None:
    text = "\n".join(
        message["content"] for message in judge_messages(ITEM.question, ITEM.answers, "It was Eva.")
    )
    for part in ("Who painted it?", "- Ada\n- Ada Byron\n", "It was Eva."):
        assert part in text
    assert str(ITEM.context) not in "".join(m["content"] for m in judge_request(ITEM, "x", seed=1).messages)


def test_an_empty_answer_is_said_to_be_one() -> None:
    # Otherwise the next line would be read as the answer.
    assert "(no answer was given)" in judge_request(ITEM, " \n", seed=1).messages[1]["content"]


def test_a_request_names_its_item() -> None:
    dataset, item_id, condition, temperature, draw, kind = split_custom_id(
        judge_request(ITEM, "x", seed=1).custom_id
    )
    assert (dataset, item_id, kind) == ("facts", "7|b", "open")
    assert (condition, temperature, draw) == ("judge", 0.0, 0)


def test_another_answer_is_another_request_and_the_same_one_is_the_same() -> None:
    one, same, other = (judge_request(ITEM, text, seed=1).digest("m") for text in ("Ada", "Ada", "Eva"))
    assert one == same != other


def test_an_item_without_gold_answers_cannot_be_judged() -> None:
    unanswerable = replace(ITEM, answers=())
    with pytest.raises(UndefinedMetricError, match="no gold answer"):
        judge_request(unanswerable, "Ada", seed=1)
    found = list(judge_requests([(ITEM, "Ada"), (unanswerable, "Ada")], seed=1))
    assert [request.custom_id for request in found] == [judge_request(ITEM, "Ada", seed=1).custom_id]


@pytest.mark.parametrize(
    ("likeliest", "is_right"),
    [
        ((("Yes", -0.1), ("No", -2.4)), True),
        ((("no", -0.1), (" yes", -2.4)), False),
        # "no" is in "know" and "not", and they are no answers: the judge says neither but for its yes.
        ((("know", -0.1), ("not", -1.0), ("yes", -3.0)), True),
        # .3 + .2 of yes is more than .4 of no.
        ((("No", math.log(0.4)), ("Yes", math.log(0.3)), (" yes", math.log(0.2))), True),
    ],
)
def test_e16_a_reply_is_its_probabilities_of_yes_and_no(likeliest, is_right: bool) -> None:
    assert read_reply(reply(*likeliest), "j").says_yes() is is_right


def test_a_token_that_was_taken_counts_where_the_likeliest_ones_lack_it_and_once_where_not() -> None:
    lacking = read_reply(reply(("no", -2.0), taken=("yes", -0.5)), "j")
    assert (lacking.yes_logprob, lacking.no_logprob) == pytest.approx((-0.5, -2.0))
    among = read_reply(reply(("yes", -0.5), ("no", -2.0), taken=("yes", -0.5)), "j")
    assert among.yes_logprob == pytest.approx(-0.5)


@pytest.mark.parametrize("likeliest", [(("Maybe", -0.1), ("I", -2.0)), (("\n", 0.0),)])
def test_a_judge_that_says_neither_has_no_verdict(likeliest) -> None:
    with pytest.raises(UndefinedMetricError, match="neither yes nor no"):
        read_reply(reply(*likeliest), "j").says_yes()


@pytest.mark.parametrize("steps", [None, ()])
def test_a_reply_without_alternatives_is_no_verdict(steps) -> None:
    with pytest.raises(UndefinedMetricError, match="no likeliest tokens"):
        read_reply(replace(reply(("yes", -0.1)), steps=steps), "j")


def test_a_judge_is_its_model_its_weights_and_what_it_was_asked() -> None:
    assert judge_name("m", "a" * 64) == f"m@{'a' * 8}/{wording_digest()[:8]}"
    assert judge_name("m", "served-" + "b" * 64) == f"m@{'b' * 8}/{wording_digest()[:8]}"
    assert judge_name("m", None) != judge_name("m", "a" * 64)
