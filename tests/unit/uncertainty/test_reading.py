import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.engines.protocol import Token
from overnight.errors import StoreError, UndefinedMetricError
from overnight.records import FinishReason
from overnight.uncertainty.answer import AnswerToken, count_tokens
from overnight.uncertainty.reading import read_answer, scored_text, tokens_from_json, tokens_to_json

STOP = ("\n\n", "Question:")


def row(text: str | None, tokens: list | None = None, *, finish: str = "stop", **more) -> dict:
    whole = {"custom_id": "d|1|greedy|0.0|0|closed", "status": "ok", "finish_reason": finish, "text": text}
    return whole | {"tokens": tokens} | more


def token(text: str, logprob: float | None = -1.0, **more) -> dict:
    return {"text": text, "logprob": logprob, **more}


def test_an_answer_ends_at_the_first_stop_string_and_has_no_whitespace_around_it() -> None:
    assert scored_text(" Paris \n\nQuestion: next", STOP) == "Paris"
    assert scored_text(" Paris Question: next\n\n", STOP) == "Paris"
    assert scored_text("\tParis", STOP) == "Paris"
    assert scored_text("Question: Paris", STOP) == ""


def test_an_answer_of_which_tokens_were_not_shown_has_no_likelihood() -> None:
    # llama.cpp shows the last token of a character alone; the sum over those that are shown would be too small. Tokens
    # of plain ASCII are never parts of a character: there the stop string is what is missing.
    shown = [token("北", -0.5), token("京", -0.25)]
    with pytest.raises(UndefinedMetricError, match="2 of 5 tokens"):
        read_answer(row("北京", shown, completion_tokens=5), STOP)
    assert read_answer(row("北京", shown, completion_tokens=2), STOP).text == "北京"
    assert read_answer(row("Paris", [token("Paris")], completion_tokens=3), STOP).text == "Paris"


def test_tokens_behind_a_stop_string_do_not_count() -> None:
    # By hand: " Par" and "is" wrote the answer; the newlines and what follows did not.
    found = read_answer(
        row(
            " Paris\n\nQ",
            [token(" Par", -0.5), token("is", -0.25), token("\n\n", -3.0), token("Q", -4.0)],
            finish="length",
        ),
        STOP,
    )
    assert found.text == "Paris"
    assert count_tokens(found).nlls() == (0.5, 0.25)
    # It ended at a stop string, so it is whole, though the reply was cut.
    assert found.finish_reason is FinishReason.STOP
    assert not found.is_cut


def test_an_answer_that_was_cut_says_so() -> None:
    found = read_answer(row("Par", [token("Par")], finish="length"), STOP)
    assert found.is_cut


@pytest.mark.parametrize("reply", ["", " \n", "\n\nParis"])
def test_an_empty_answer_has_no_likelihood(reply: str) -> None:
    found = read_answer(row(reply, [token(reply), token("", -0.1, ends=True)]), STOP)
    assert found.text == ""
    counted = count_tokens(found)
    assert counted.n_tokens() == 0
    with pytest.raises(UndefinedMetricError, match="the answer is empty"):
        counted.nlls()


def test_a_failed_request_and_one_without_tokens_have_no_answer() -> None:
    failed = row(None, finish="error", status="error", error={"kind": "BadResponse", "message": "no JSON"})
    with pytest.raises(UndefinedMetricError, match="the request failed: no JSON"):
        read_answer(failed, STOP)
    with pytest.raises(UndefinedMetricError, match="gave no tokens"):
        read_answer(row("Paris"), STOP)


@pytest.mark.parametrize("logprob", [math.nan, math.inf, -math.inf])
def test_a_log_probability_that_is_no_number_is_missing_with_a_reason(logprob: float) -> None:
    (written,) = tokens_to_json([Token(piece=b"a", logprob=logprob)])
    assert written == {"text": "a", "logprob": None, "undefined_because": f"the engine gave {logprob}"}
    json.dumps(written, allow_nan=False)
    with pytest.raises(UndefinedMetricError, match="1 of 2 tokens have no log-probability"):
        count_tokens(read_answer(row("ab", [written, token("b")]), STOP)).nlls()
    # Other writers leave a NaN in their JSON.
    assert tokens_from_json([token("a", logprob)])[0].logprob is None


def test_pieces_that_are_no_utf_8_alone_are_written_in_hex() -> None:
    # U+1F34E is f0 9f 8d 8e; two tokens share it.
    apple = "\U0001f34e"
    pieces = [apple.encode()[:2], apple.encode()[2:], b" pie"]
    written = tokens_to_json([Token(piece=piece, logprob=-1.0) for piece in pieces])
    assert [one.get("hex") for one in written] == ["f09f", "8d8e", None]
    found = read_answer(row(f"{apple} pie", written), STOP)
    assert [tuple(one.span) for one in count_tokens(found).tokens] == [(0, 1), (0, 1), (1, 5)]


@given(
    st.lists(
        st.builds(
            AnswerToken,
            piece=st.binary(max_size=6) | st.text(max_size=4).map(str.encode),
            logprob=st.none() | st.floats(max_value=0, allow_nan=False, allow_infinity=False),
            ends=st.booleans(),
        )
    )
)
def test_tokens_come_back_as_they_were_written(tokens: list[AnswerToken]) -> None:
    line = json.dumps(tokens_to_json(tokens), ensure_ascii=True, allow_nan=False)
    assert tokens_from_json(json.loads(line)) == tuple(tokens)


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        ({"text": "a"}, "tokens: found .* wanted a list"),
        (["a"], r"tokens\[0\]: found 'a', wanted an object"),
        ([{"logprob": -1.0}], "wanted its text or its bytes in hex"),
        ([{"hex": "zz", "logprob": -1.0}], "wanted its text or its bytes in hex"),
        ([{"text": "\ud800", "logprob": -1.0}], "wanted its text or its bytes in hex"),
        ([{"text": "a", "hex": "61", "logprob": -1.0}], "wanted its text or its bytes in hex"),
        ([{"text": "a", "logprob": "-1"}], "logprob: found '-1', wanted a number"),
        ([{"text": "a", "logprob": True}], "logprob: found True, wanted a number"),
    ],
)
def test_a_row_that_somebody_changed_is_named(tokens, said: str) -> None:
    with pytest.raises(StoreError, match=rf"generations\.jsonl: d\|1\|greedy\|0\.0\|0\|closed: .*{said}"):
        read_answer(row("a", tokens), STOP)


def test_a_row_without_text_or_with_an_unknown_end_is_damaged() -> None:
    with pytest.raises(StoreError, match="text: found nothing"):
        read_answer(row(None, [token("a")]), STOP)
    with pytest.raises(StoreError, match="finish_reason: found 'abort'"):
        read_answer(row("a", [token("a")], finish="abort"), STOP)
