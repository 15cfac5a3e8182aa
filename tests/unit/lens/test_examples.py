"""What a lens learns from depends on each text by itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.errors import UsageError
from overnight.lens.examples import different, examples_of, held_out, read_sources
from overnight.spec.positions import VectorPositions

TEXTS = [f"text {n}" for n in range(20)]


def _sources(texts=TEXTS, n_special: int = 1):
    return read_sources(texts, [range(n_special + 3 + n) for n in range(len(texts))], n_special)


def test_a_window_ends_at_its_position_and_has_no_special_token() -> None:
    sources = _sources()
    found = examples_of(sources, VectorPositions(per_sequence=50, min_pos=2), 4)
    assert found
    for each in found:
        ids = sources[each.source].ids
        assert each.window[-1] == ids[each.position]
        assert each.window == ids[max(1, each.position - 3) : each.position + 1]
        assert 0 not in each.window  # the special token
    assert min(len(each.window) for each in found) == 3


def test_a_text_without_tokens_of_its_own_is_left_out() -> None:
    assert [each.ids for each in read_sources(["", "a"], [[7], [7, 8]], 1)] == [(7, 8)]


@given(st.floats(0.01, 0.49), st.integers(2, 20), st.integers(0, 5))
def test_some_texts_are_held_out_and_never_all(share: float, n: int, seed: int) -> None:
    kept_out = held_out(_sources(TEXTS[:n]), share, seed)
    assert 1 <= len(kept_out) < n
    assert abs(len(kept_out) - share * n) <= 1


def test_which_texts_are_held_out_does_not_depend_on_their_order() -> None:
    sources = _sources()
    names = {sources[place].digest for place in held_out(sources, 0.3, 1)}
    backwards = sources[::-1]
    assert {backwards[place].digest for place in held_out(backwards, 0.3, 1)} == names
    assert {sources[place].digest for place in held_out(sources, 0.3, 2)} != names


def test_one_text_is_too_few() -> None:
    with pytest.raises(UsageError, match="found 1 texts"):
        held_out(_sources(TEXTS[:1]), 0.3, 1)


def test_a_passage_that_comes_again_is_one_text() -> None:
    assert different(["a", "b", "a", "c", "b"]) == ["a", "b", "c"]
