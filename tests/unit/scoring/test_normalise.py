import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.scoring.normalise import normalise, tokens


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
