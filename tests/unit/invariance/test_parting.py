"""Where two answers part, and what the gap there says: on steps that are written down by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.engines.alternatives import read_steps
from overnight.engines.protocol import Completion, Step, Token
from overnight.invariance.parting import Kind, judge, part
from overnight.records import FinishReason

END = None


def token(text: str | None, share: float) -> Token:
    """Return a token of a share of the probability; without a text it ends the answer."""
    return Token(piece=(text or "").encode(), logprob=math.log(share), ends=text is END)


def step(*tokens: tuple[str | None, float]) -> Step:
    """Return a step whose first token was taken."""
    return Step(taken=token(*tokens[0]), likeliest=tuple(token(*each) for each in tokens))


def answer(*steps: Step, finish_reason: str = "stop") -> Completion:
    text = b"".join(each.taken.piece for each in steps).decode()
    return Completion(
        text=text,
        finish_reason=FinishReason(finish_reason),
        prompt_tokens=1,
        cached_tokens=0,
        completion_tokens=len(steps),
        token_logprobs=tuple(each.taken.logprob for each in steps),
        latency_s=0.0,
        sent={},
        steps=steps or None,
    )


PARIS = (
    step((" Par", 0.9), (" Lon", 0.1)),
    step(("is", 0.50), ("ma", 0.48)),
    step((END, 0.6), (" France", 0.2), (".", 0.1)),
)


def _judge(alone, text, finish_reason="stop", temperature=0.0, stop=(), tie_gap=0.1):
    return judge(alone, text, finish_reason, temperature=temperature, stop=stop, tie_gap=tie_gap)


@pytest.mark.parametrize(
    ("text", "kind", "place", "ratio"),
    [
        (" Paris", Kind.IDENTICAL, None, None),
        (" Parma", Kind.TIE, 1, 0.50 / 0.48),  # ln(.50 / .48) = 0.041 < 0.1
        (" London", Kind.REAL, 0, 0.9 / 0.1),
        (" Paris France", Kind.REAL, 2, 0.6 / 0.2),  # one ended where the other went on
        (" Paris, of course", Kind.NOT_KNOWN, 2, None),  # a comma is not among the alternatives
        ("", Kind.NOT_KNOWN, 0, None),  # nor is the end of the answer
    ],
)
def test_the_gap_is_between_the_two_tokens_at_the_parting(text, kind, place, ratio) -> None:
    found = _judge(answer(*PARIS), text)
    assert found.kind is kind
    if kind is not Kind.IDENTICAL:
        assert found.parting.step == place
        assert found.parting.gap == (None if ratio is None else pytest.approx(math.log(ratio)))
    assert (found.why is not None) == (kind is Kind.NOT_KNOWN)


def test_an_answer_that_ended_parts_from_one_that_went_on() -> None:
    alone = answer(step(("yes", 0.9), ("no", 0.1)), step((".", 0.5), (END, 0.49)), step((END, 1.0)))
    found = _judge(alone, "yes")
    assert (found.kind, found.parting.step) == (Kind.TIE, 1)
    assert found.parting.gap == pytest.approx(math.log(0.5 / 0.49))


def test_a_stop_text_ends_an_answer_as_a_token_does() -> None:
    # The stop is cut off the text, so the other answer ends where the alternative would have brought it about.
    alone = answer(step(("yes", 1.0)), step((" sir", 0.5), (".\n", 0.3), ("!", 0.2)))
    assert _judge(alone, "yes.", stop=("\n",)).parting.gap == pytest.approx(math.log(0.5 / 0.3))
    assert _judge(alone, "yes.").parting.gap is None


def test_the_same_text_that_was_cut_off_once_is_another_answer() -> None:
    found = _judge(answer(*PARIS), " Paris", finish_reason="length")
    assert (found.kind, found.why) == (
        Kind.NOT_KNOWN,
        "the answers end for different reasons and have the same text",
    )


def test_of_several_tokens_that_fit_the_likeliest_is_taken() -> None:
    # "10" may have been written as "10" or as "1" and "0".
    alone = answer(step(("7", 0.40), ("1", 0.39), ("10", 0.01)))
    assert _judge(alone, "10").parting.gap == pytest.approx(math.log(0.40 / 0.39))


def test_a_drawn_token_is_never_called_a_tie() -> None:
    # It depends on where the random number falls, and not on which token is the likeliest.
    found = _judge(answer(*PARIS), " Parma", temperature=0.7)
    assert (found.kind, found.why) == (Kind.NOT_KNOWN, "the tokens were drawn at random")
    assert found.parting.gap == pytest.approx(math.log(0.50 / 0.48))


def test_without_alternatives_nothing_is_known_of_a_difference() -> None:
    found = _judge(answer(), "something else")
    assert (found.kind, found.why) == (Kind.NOT_KNOWN, "the engine gives no alternatives")


def test_a_step_that_the_engine_keeps_to_itself_is_named() -> None:
    # llama.cpp leaves out the token that brought a stop text about.
    alone = answer(step(("yes", 1.0)))
    assert _judge(alone, "yes indeed").why == "the engine does not show the step that ended the answer"


PIECES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=3)


@given(st.lists(PIECES, max_size=8), st.data())
def test_answers_part_at_the_first_token_that_differs(pieces, data) -> None:
    # By construction: the other answer has the first `place` tokens, then another character.
    place = data.draw(st.integers(0, len(pieces)))
    steps = [step((piece, 0.6)) for piece in pieces] + [step((END, 0.6))]
    other = data.draw(PIECES.filter(lambda p: p[0] != (pieces[place] if place < len(pieces) else "")[:1]))
    steps[place] = Step(taken=steps[place].taken, likeliest=(steps[place].taken, token(other, 0.3)))
    found = part(steps, "".join(pieces[:place]) + other)
    assert found.step == place
    assert found.gap == pytest.approx(math.log(2))


@given(st.lists(PIECES, max_size=8))
def test_an_answer_does_not_part_from_itself(pieces) -> None:
    steps = [step((piece, 0.6), ("x", 0.4)) for piece in pieces] + [step((END, 0.6), ("x", 0.4))]
    assert part(steps, "".join(pieces)).step is None


def test_steps_are_read_as_the_openai_api_writes_them() -> None:
    # A character of four bytes is one entry of llama.cpp, whose alternatives are those of its last byte.
    bird, moth = "\U0001f426".encode(), "\U0001f98b".encode()
    content = [
        {
            "token": "\U0001f426",
            "bytes": list(bird),
            "logprob": -0.25,
            "top_logprobs": [
                {"token": "\ufffd", "bytes": [bird[-1]], "logprob": -0.25},
                {"token": "\ufffd", "bytes": [moth[-1]], "logprob": -2.0},
            ],
        },
        {
            "token": "",
            "bytes": [],
            "logprob": -0.5,
            "top_logprobs": [
                {"token": "", "bytes": [], "logprob": -0.5},
                {"token": "<|im_end|>", "bytes": None, "logprob": -1.5},
                {"token": "!", "bytes": None, "logprob": -3.0},
            ],
        },
    ]
    first, last = read_steps(content)
    assert [each.piece for each in first.likeliest] == [bird, bird[:-1] + moth[-1:]]
    assert last.taken == Token(piece=b"", logprob=-0.5, ends=True)
    assert [(each.piece, each.ends) for each in last.likeliest] == [(b"", True), (b"", True), (b"!", False)]
