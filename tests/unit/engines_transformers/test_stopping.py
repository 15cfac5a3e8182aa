"""Stop strings: found as soon as they are complete, and the text ends before the first of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.engines.transformers.stopping import cut_at_stop, find_stop


def _bytes(ids) -> str:
    """A tokenizer whose tokens are bytes; an incomplete character is U+FFFD, as with any tokenizer of bytes."""
    return bytes(ids).decode("utf-8", "replace")


def test_the_text_ends_before_the_stop_string_that_comes_first() -> None:
    assert cut_at_stop("one Q: two A: three", ("A:", "Q:")).text == "one "
    assert cut_at_stop("one two", ("A:",)) is None


def test_without_stop_strings_nothing_is_decoded() -> None:
    def decode(ids):
        raise AssertionError

    assert find_stop([1, 2], (), decode) is None


@pytest.mark.parametrize("stop", ["\n\n", "naïve", "🦊", "</answer>"])
def test_a_stop_string_is_found_with_the_token_that_completes_it(stop) -> None:
    ids = list(f"{'a café ☕ ' * 40}{stop}".encode())
    found = [n for n in range(1, len(ids) + 1) if find_stop(ids[:n], (stop,), _bytes)]
    assert found == [len(ids)]
    assert find_stop(ids, (stop,), _bytes).text == "a café ☕ " * 40


@given(
    st.text("ab☕", max_size=60), st.lists(st.text("ab☕", min_size=1, max_size=4), min_size=1, max_size=3)
)
def test_looking_after_every_token_finds_what_looking_at_the_whole_text_finds(text, stop) -> None:
    ids = list(text.encode())
    first = next((n for n in range(1, len(ids) + 1) if cut_at_stop(_bytes(ids[:n]), stop)), None)
    assert next((n for n in range(1, len(ids) + 1) if find_stop(ids[:n], stop, _bytes)), None) == first
