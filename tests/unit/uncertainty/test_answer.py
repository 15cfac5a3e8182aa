import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.engines.protocol import Completion, Step, Token
from overnight.errors import UndefinedMetricError
from overnight.records import FinishReason
from overnight.uncertainty.answer import TokenMask, count_tokens, from_completion
from tests.unit.uncertainty.answers import generated

# What a model may write: a newline that is stripped, two words, a stop string that is cut off, and its end.
WHOLE = generated(["\n", "Par", "is", "\n\n"], [-0.1, -0.2, -0.3, -0.4], end=-0.5)


@pytest.mark.parametrize(
    ("mask", "nlls"),
    [
        (TokenMask.CONTENT, (0.2, 0.3)),
        (TokenMask.WITH_END_TOKEN, (0.2, 0.3, 0.5)),
        (TokenMask.EVERY_TOKEN, (0.1, 0.2, 0.3, 0.4, 0.5)),
    ],
)
def test_e15_which_tokens_are_in_a_likelihood_is_named(mask: TokenMask, nlls: tuple[float, ...]) -> None:
    # The seed counted the end token and stripped whitespace, and told stop strings by encoding them anew.
    assert count_tokens(WHOLE, mask).nlls() == nlls


def test_e15_the_end_token_is_left_out_unless_it_is_asked_for() -> None:
    assert count_tokens(WHOLE).mask is TokenMask.CONTENT
    assert count_tokens(WHOLE) == count_tokens(WHOLE, TokenMask.CONTENT)


def test_e15_an_answer_that_was_cut_off_says_so() -> None:
    assert generated(["Paris"]).is_cut
    assert not WHOLE.is_cut


def test_an_empty_answer_has_no_likelihood_but_that_of_its_end() -> None:
    empty = generated(["\n"], end=-0.5)
    with pytest.raises(UndefinedMetricError, match="empty"):
        count_tokens(empty).nlls()
    assert count_tokens(empty, TokenMask.WITH_END_TOKEN).nlls() == (0.5,)


@pytest.mark.parametrize("broken", [None, math.nan, -math.inf])
def test_a_token_without_a_likelihood_leaves_the_answer_without_one(broken: float | None) -> None:
    with pytest.raises(UndefinedMetricError, match="1 of 2 tokens"):
        count_tokens(generated([" a", " b"], [-1.0, broken])).nlls()


def test_a_token_outside_the_mask_may_lack_its_likelihood() -> None:
    assert count_tokens(generated(["a", "\n"], [-1.0, math.nan])).nlls() == (1.0,)


@given(st.lists(st.sampled_from([" a", "b", "\n", "", "\u00e9"]), max_size=6), st.none() | st.floats(-9, 0))
def test_a_wider_mask_holds_the_narrower_one(pieces: list[str], end: float | None) -> None:
    answer = generated(pieces, end=end)
    content, with_end, every = (
        count_tokens(answer, mask).tokens
        for mask in (TokenMask.CONTENT, TokenMask.WITH_END_TOKEN, TokenMask.EVERY_TOKEN)
    )
    assert with_end[: len(content)] == content
    assert len(with_end) == len(content) + (end is not None)
    assert len(every) == len(answer.tokens)
    assert all(not token.span.is_empty for token in content)


def completion(steps: tuple[Step, ...] | None) -> Completion:
    return Completion(
        text=" Paris",
        finish_reason=FinishReason.STOP,
        prompt_tokens=None,
        cached_tokens=None,
        completion_tokens=None,
        token_logprobs=None,
        latency_s=0.0,
        sent={},
        steps=steps,
    )


def test_an_answer_is_read_from_the_tokens_that_an_engine_gave() -> None:
    taken = (Token(piece=b" Paris", logprob=-0.25), Token(piece=b"", logprob=-0.5, ends=True))
    steps = tuple(Step(taken=token, likeliest=(token,)) for token in taken)
    answer = from_completion(completion(steps), "Paris")
    assert count_tokens(answer, TokenMask.WITH_END_TOKEN).nlls() == (0.25, 0.5)
    assert not answer.is_cut


def test_an_engine_without_tokens_gives_no_answer_to_measure() -> None:
    with pytest.raises(UndefinedMetricError, match="no tokens"):
        from_completion(completion(None), "Paris")
