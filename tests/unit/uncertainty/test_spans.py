from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.errors import UndefinedMetricError
from overnight.uncertainty.spans import _characters, token_spans

TEXTS = st.text(st.sampled_from("ab \n\u00e9\u20ac\U0001f600\u3000."), max_size=12)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return the bytes cut anywhere, inside characters too."""
    marks = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(marks)]


def test_spans_are_those_of_the_stripped_text() -> None:
    # " Paris" loses its space: the token still wrote characters 0 to 5.
    assert token_spans([b" Paris", b",", b" France", b"\n"], "Paris, France") == [
        (0, 5),
        (5, 6),
        (6, 13),
        (13, 13),
    ]


def test_a_text_that_was_not_stripped_keeps_its_whitespace_in_the_spans() -> None:
    assert token_spans([b"\n", b" Paris", b"\n"], "\n Paris\n") == [(0, 1), (1, 7), (7, 8)]


def test_tokens_that_are_parts_of_one_character_share_its_span() -> None:
    # The euro sign is E2 82 AC, here in three tokens, the last of which goes on with " 5".
    assert token_spans([b"\xe2", b"\x82", b"\xac 5"], "\u20ac 5") == [(0, 1), (0, 1), (0, 3)]


def test_what_a_stop_string_cut_off_has_no_span() -> None:
    # The token ".\n" wrote the full stop, and what was cut away behind it.
    assert token_spans([b"Paris", b".\n", b"\nQuestion:"], "Paris.") == [(0, 5), (5, 6), (6, 6)]


def test_bytes_that_are_no_text_are_the_replacement_character() -> None:
    # A generation that was cut off inside a character.
    assert token_spans([b"a", b"\xe2\x82"], "a\ufffd") == [(0, 1), (1, 2)]
    # An engine may leave that character away instead: its token wrote nothing of the text.
    assert token_spans([b"a", b"\xe2\x82"], "a") == [(0, 1), (1, 1)]


def test_a_text_that_the_tokens_do_not_spell_is_refused() -> None:
    with pytest.raises(UndefinedMetricError, match="'Lyon', the scored text is 'Paris'"):
        token_spans([b"Lyon"], "Paris")
    with pytest.raises(UndefinedMetricError):
        token_spans([b"Pa"], "Paris")
    with pytest.raises(UndefinedMetricError):
        token_spans([b"a "], " ")  # whitespace before the text that no token wrote


def test_an_empty_text_has_only_empty_spans() -> None:
    assert all(span.is_empty for span in token_spans([b"\n", b" ", b""], ""))
    assert token_spans([], "") == []


@given(TEXTS, st.lists(st.integers(0, 60), max_size=8))
def test_spans_tile_the_text(written: str, places: list[int]) -> None:
    text = written.strip()
    spans = [span for span in token_spans(cut(written.encode(), places), text) if not span.is_empty]
    covered = 0
    for span in spans:
        # Next to what is covered, or sharing its last character; never behind a gap.
        assert covered - 1 <= span.start <= covered
        assert covered <= span.end
        covered = span.end
    assert covered == len(text)


@given(TEXTS, st.lists(st.integers(0, 60), max_size=8))
def test_a_span_holds_exactly_the_characters_that_its_token_wrote_a_byte_of(
    written: str, places: list[int]
) -> None:
    # Brute force: which character of the whole text each byte belongs to.
    owner = [place for place, character in enumerate(written) for _ in character.encode()]
    text = written.strip()
    lead = len(written) - len(written.lstrip())
    pieces = cut(written.encode(), places)
    after = 0
    for piece, span in zip(pieces, token_spans(pieces, text), strict=True):
        own = set(owner[after : after + len(piece)])
        after += len(piece)
        assert set(range(span.start, span.end)) == {
            place - lead for place in own if 0 <= place - lead < len(text)
        }


@given(st.binary(max_size=12), st.lists(st.integers(0, 12), max_size=4))
def test_any_bytes_are_read_as_python_reads_them_at_once(data: bytes, places: list[int]) -> None:
    decoded = data.decode("utf-8", "replace")
    characters = list(_characters(data))
    assert len(characters) == len(data)
    assert sorted(set(characters)) == list(range(len(decoded)))
    assert characters == sorted(characters)
    assert len(token_spans(cut(data, places), decoded)) == len(cut(data, places))
