import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.scoring.normalise import normalise, normalise_triviaqa, tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Paris, France", "paris france"),
        ("New-York", "newyork"),
        ("U.S.", "us"),
        ("the", ""),
        ("a", ""),
        ("“Paris”", "“paris”"),
        ("  The   red\tfox \n ran.", "red fox ran"),
        ("Athens and another theatre", "athens and another theatre"),  # no article inside a word
    ],
)
def test_the_golden_texts_of_the_squad_rule(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_punctuation_goes_before_articles_as_in_the_official_evaluator() -> None:
    # "a." loses its dot first and is then an article; "a-b" is joined first and is then none.
    assert normalise("a. b a-b") == "b ab"


def test_tokens_keep_order_and_repetitions() -> None:
    assert tokens("The fox, the fox ran") == ["fox", "fox", "ran"]


@given(st.text())
def test_a_normalised_text_stays_as_it_is(text: str) -> None:
    assert normalise(f"  {normalise(text)}\n") == normalise(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # By the official definition: "_" to space, lower case, ASCII punctuation, single curly
        # quotes and the acute accent each to a space, a|an|the as a word to a space, white
        # space collapsed.
        ("New-York", "new york"),
        ("U.S.", "u s"),
        ("it's", "it s"),
        ("it\u2019s", "it s"),
        ("rock_'n'_roll", "rock n roll"),
        ("\u2018Paris\u2019", "paris"),
        ("\u201cParis\u201d", "\u201cparis\u201d"),  # double curly quotes are not on its list
        ("\u00b4Paris`", "paris"),
        ("The The", ""),
        ("Vitamin-A", "vitamin"),  # once it stands alone, the letter is an article
        ("AT&T", "at t"),
        ("  A   tale\tof \n two Cities!", "tale of two cities"),
        ("", ""),
    ],
)
def test_the_triviaqa_rule_puts_a_space_where_punctuation_was(text: str, expected: str) -> None:
    assert normalise_triviaqa(text) == expected


@given(st.text() | st.text("aAn theTHE-_'\u2019\u2018.", max_size=30))
def test_what_the_triviaqa_rule_left_stays_as_it_is(text: str) -> None:
    assert normalise_triviaqa(normalise_triviaqa(text)) == normalise_triviaqa(text)
