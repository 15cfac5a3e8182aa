import math

from overnight.engines.kept_tokens import kept_tokens, with_parts_of_characters
from overnight.engines.protocol import Completion, Step, Token
from overnight.records import FinishReason


def completion(*tokens: Token) -> Completion:
    return Completion(
        text="",
        finish_reason=FinishReason.STOP,
        prompt_tokens=1,
        cached_tokens=0,
        completion_tokens=len(tokens),
        token_logprobs=None,
        latency_s=0.1,
        sent={},
        steps=tuple(Step(taken=token, likeliest=()) for token in tokens),
    )


def test_a_row_keeps_text_bytes_and_the_end_of_an_answer() -> None:
    kept = kept_tokens(
        completion(
            Token(piece=b" caf", logprob=-0.5),
            Token(piece=b"\xc3", logprob=-1.0),
            Token(piece=b"", logprob=-0.25, ends=True),
        )
    )
    assert kept == [
        {"text": " caf", "logprob": -0.5},
        {"hex": "c3", "logprob": -1.0},
        {"text": "", "logprob": -0.25, "ends": True},
    ]


def test_a_log_probability_that_is_no_number_is_missing_with_its_reason() -> None:
    # NaN and Infinity are no JSON, and an impossible token would make every sum infinite.
    for value in (math.nan, -math.inf):
        (kept,) = kept_tokens(completion(Token(piece=b"a", logprob=value)))
        assert kept["logprob"] is None
        assert kept["undefined_because"] == f"the engine gave {value}"


def test_a_token_has_its_id_where_the_engine_says_it() -> None:
    # The states of an answer are computed of its ids: another tokenisation of the same text would have others.
    kept = kept_tokens(
        completion(
            Token(piece=b"", logprob=-0.5, id=7),
            Token(piece="é".encode(), logprob=-0.5, id=0),
            Token(piece=b"", logprob=-0.5, id=2, ends=True),
        )
    )
    assert kept == [
        {"hex": "c3", "logprob": -0.5, "id": 7},  # half of a character
        {"hex": "a9", "logprob": -0.5, "id": 0},
        {"text": "", "logprob": -0.5, "ends": True, "id": 2},
    ]


def test_an_engine_that_shows_no_tokens_keeps_none() -> None:
    plain = completion()
    assert kept_tokens(plain) == []
    object.__setattr__(plain, "steps", None)
    assert kept_tokens(plain) is None


def test_tokens_inside_a_character_have_a_part_of_it() -> None:
    # The euro sign has three bytes. Engines give all of them to the last of its tokens.
    tokens = [
        Token(piece=b"5 ", logprob=-0.1),
        Token(piece=b"", logprob=-0.2),
        Token(piece=b"", logprob=-0.3),
        Token(piece="€".encode(), logprob=-0.4),
        Token(piece=b"!", logprob=-0.5),
    ]
    found = with_parts_of_characters(tokens)
    assert [token.piece for token in found] == [b"5 ", b"\xe2", b"\x82", b"\xac", b"!"]
    assert b"".join(token.piece for token in found) == "5 €!".encode()
    assert [token.logprob for token in found] == [token.logprob for token in tokens]


def test_tokens_that_wrote_nothing_before_plain_text_stay_as_they_are() -> None:
    # A special token that is not shown, for one: there is no character that it could be a part of.
    tokens = [Token(piece=b"", logprob=-0.2), Token(piece=b"plain", logprob=-0.4)]
    assert with_parts_of_characters(tokens) == tokens
    few = [Token(piece=b"", logprob=-0.2)] * 2 + [Token(piece="é".encode(), logprob=-0.4)]
    assert with_parts_of_characters(few) == few  # two bytes for three tokens
