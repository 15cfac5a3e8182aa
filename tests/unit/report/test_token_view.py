import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.records import FinishReason
from overnight.report.token_view import (
    ENDS,
    MOST_TOKENS,
    PART,
    RELEVANCES,
    SURPRISES,
    UNCOUNTED,
    TokenExample,
    token_section,
    token_view,
)
from overnight.uncertainty.answer import AnswerToken, GeneratedAnswer

APPLE = "\U0001f34e".encode()


def example(pieces: list[bytes], *, trial: str = "t", key: str = "d|1", text: str | None = None, **more):
    tokens = tuple(AnswerToken(piece=piece, logprob=-0.5) for piece in pieces)
    whole = b"".join(pieces).decode("utf-8", "replace").strip() if text is None else text
    answer = GeneratedAnswer(text=whole, tokens=tokens, finish_reason=FinishReason.STOP)
    return TokenExample(
        **{
            "trial": trial,
            "item_key": key,
            "question": "q?",
            "golds": ("gold",),
            "is_right": True,
            "answer": answer,
            **more,
        }
    )


def rows(*examples: TokenExample, most: int = 100) -> list:
    return json.loads(token_view(examples, label="F1", most=most).data)["rows"]


@given(
    st.lists(st.binary(min_size=1, max_size=3) | st.text(min_size=1, max_size=3).map(str.encode), min_size=1)
)
def test_the_tokens_of_an_answer_show_every_character_once(pieces: list[bytes]) -> None:
    # What Python's decoder makes of the whole; controls and the like are escaped in both alike.
    from overnight.report.text import visible

    (row,) = rows(example(pieces))
    whole = b"".join(pieces).decode("utf-8", "replace")
    assert "".join(token[0] for token in row[7]) == visible(whole)


def test_a_piece_that_ends_no_character_says_so_and_shows_its_bytes() -> None:
    (row,) = rows(example([APPLE[:2], APPLE[2:], b" pie"]))
    assert [token[0] for token in row[7]] == ["", "\U0001f34e", " pie"]
    assert [bool(token[3] & PART) for token in row[7]] == [True, False, False]
    assert [token[4:] for token in row[7]] == [["f0 9f"], ["8d 8e"], []]


def test_a_character_that_was_never_ended_stands_at_the_last_token_that_wrote_something() -> None:
    tokens = (AnswerToken(piece=b"a\xe2", logprob=-1.0), AnswerToken(piece=b"", logprob=-1.0, ends=True))
    answer = GeneratedAnswer(text="a\ufffd", tokens=tokens, finish_reason=FinishReason.STOP)
    (row,) = rows(example([], answer=answer))
    assert [token[0] for token in row[7]] == ["a\ufffd", ""]


def test_relevance_stands_at_the_tokens_that_count() -> None:
    # The space before the answer and the end do not count, so the two relevances are of the two words.
    tokens = (
        AnswerToken(piece=b" ", logprob=-0.1),
        AnswerToken(piece=b"New", logprob=-0.5),
        AnswerToken(piece=b" York", logprob=-0.25),
        AnswerToken(piece=b"", logprob=-2.0, ends=True),
    )
    answer = GeneratedAnswer(text="New York", tokens=tokens, finish_reason=FinishReason.STOP)
    (row,) = rows(example([], answer=answer, relevance=(0.2, 0.3)))
    assert [token[2] for token in row[7]] == [None, 0.2, 0.3, None]
    assert [token[3] for token in row[7]] == [UNCOUNTED, 0, 0, UNCOUNTED | ENDS]
    assert row[6] == 0.75  # of the words alone


def test_a_missing_log_probability_leaves_the_answer_without_a_total() -> None:
    tokens = (AnswerToken(piece=b"a", logprob=None), AnswerToken(piece=b"b", logprob=-1.0))
    answer = GeneratedAnswer(text="ab", tokens=tokens, finish_reason=FinishReason.LENGTH)
    (row,) = rows(example([], answer=answer))
    assert row[6] is None
    assert [token[1] for token in row[7]] == [None, 1.0]
    assert row[5] == "length"


def test_relevances_of_other_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        rows(example([b"a", b"b"], relevance=(0.1,)))


def test_tokens_that_do_not_spell_the_text_are_shown_and_do_not_count() -> None:
    (row,) = rows(example([b"a", b"b"], text="xyz"))
    assert all(token[3] & UNCOUNTED for token in row[7])
    assert row[6] is None


def test_nothing_that_a_model_wrote_can_begin_a_tag_or_hide_itself() -> None:
    evil = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>\u202eevil\x1b[0m"
    view = token_view(
        [
            example(
                [evil.encode()],
                question=evil,
                golds=(evil,),
                key=evil,
                trial=f"t{evil}",
            )
        ],
        label=f"by {evil}",
    )
    page = str(token_section(view))
    assert page.count("<script") == 1  # the data
    assert page.count("</script") == 1
    for part in ("<img", "<!--", "\u202e", "\x1b"):
        assert part not in page
    assert json.loads(view.data)["rows"][0][2].startswith("</script>")


def test_trials_over_the_same_items_show_the_same_sample() -> None:
    keys = [f"d|{n}" for n in range(50)]
    found = rows(*(example([b"a"], trial=t, key=key) for t in "xyz" for key in keys), most=30)
    by_trial = [[row[1] for row in found if row[0] == trial] for trial in range(3)]
    assert by_trial[0] == by_trial[1] == by_trial[2]
    assert len(by_trial[0]) == 10
    assert by_trial[0] == sorted(by_trial[0], key=keys.index)  # in the order in which they were asked
    backwards = rows(*(example([b"a"], key=key) for key in reversed(keys)), most=10)
    assert {row[1] for row in backwards} == set(by_trial[0])


def test_how_many_answers_there_are_is_said_of_every_trial() -> None:
    view = token_view(
        [
            example([b"a"], trial=trial, key=str(n))
            for trial, count in (("x", 4), ("y", 2))
            for n in range(count)
        ],
        label="F1",
        most=6,
    )
    assert view.trials == (("x", 3, 4), ("y", 2, 2))
    assert (view.n_shown, view.n_all) == (5, 6)
    assert "5 of 6 greedy answers" in token_section(view)


def test_a_long_answer_is_cut_and_says_how_long_it_is() -> None:
    (row,) = rows(example([b"a"] * (MOST_TOKENS + 7)))
    assert len(row[7]) == MOST_TOKENS
    assert row[8] == MOST_TOKENS + 7
    assert row[6] == 0.5 * (MOST_TOKENS + 7)  # of all tokens


def test_there_is_a_colour_in_the_legend_for_every_level() -> None:
    page = str(token_section(token_view([example([b"a"])], label="F1")))
    for colour, limits in (("nll", SURPRISES), ("relevance", RELEVANCES)):
        legend = re.search(rf'<ul class="token-legend" data-colour="{colour}".*?</ul>', page, re.DOTALL)
        assert legend
        assert legend[0].count("data-level=") == len(limits) + 1
    # A token of probability one half is where the legend says "50 %".
    assert math.exp(-SURPRISES[2]) == pytest.approx(0.5)
    assert "80 to 50 %" in page


def test_a_page_without_answers_says_so() -> None:
    page = str(token_section(token_view([], label="F1")))
    assert "no answer with tokens" in page
    assert "<script" not in page
