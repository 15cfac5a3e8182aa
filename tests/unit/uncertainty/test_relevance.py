from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overnight.uncertainty.answer import TokenMask, count_tokens
from overnight.uncertainty.relevance import CachedSimilarity, Pair, token_relevance
from tests.unit.uncertainty.answers import generated

PIECES = st.lists(st.sampled_from([" a", "b", "\u00e9", b"\xe2", b"\x82", b"\xac", " the"]), max_size=8)


@dataclass
class SharedCharacters:
    """A similarity: the share of characters that two texts have in common, 1 for the same text."""

    name: str = "shared-characters"
    revision: str = "1"
    asked: list[Pair] = field(default_factory=list)

    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        self.asked += pairs
        return [len(other) / len(one) for one, other in pairs]


def relevance_of(x: str, pieces: Sequence[str | bytes], mask: TokenMask = TokenMask.CONTENT):
    model = SharedCharacters()
    [found] = token_relevance([(x, count_tokens(generated(pieces, end=-1.0), mask))], model)
    return found, model.asked


def test_relevance_by_hand() -> None:
    # "Q A bb" has 6 characters; without "A" 5 are left, without " bb" 3.
    found, asked = relevance_of("Q", ["A", " bb"])
    assert asked == [("Q A bb", "Q  bb"), ("Q A bb", "Q A")]
    assert found == pytest.approx((1 / 6, 3 / 6))


def test_e1_a_score_is_used_as_it_is() -> None:
    # Divided by 5 once more, no relevance was below .8; here identical texts have none.
    class Same(SharedCharacters):
        def __call__(self, pairs):
            return [1.0] * len(pairs)

    [found] = token_relevance([("Q", count_tokens(generated(["a", " b"])))], Same())
    assert found == (0.0, 0.0)


def test_e1_a_score_on_another_scale_is_refused() -> None:
    class UpToFive(SharedCharacters):
        def __call__(self, pairs):
            return [4.2] * len(pairs)

    with pytest.raises(ValueError, match=r"the score 4\.2; a similarity lies in \[0, 1\]"):
        token_relevance([("Q", count_tokens(generated(["a"])))], UpToFive())


def test_a_model_that_skips_pairs_is_refused() -> None:
    class Skips(SharedCharacters):
        def __call__(self, pairs):
            return []

    with pytest.raises(ValueError, match="0 scores for 2 pairs"):
        token_relevance([("Q", count_tokens(generated(["a", " b"])))], Skips())


def test_e2_a_token_is_taken_away_where_it_was_generated() -> None:
    # Encoding "papa" anew may give one token "papa"; and taking away every "pa" would take away the answer.
    _, asked = relevance_of("", ["pa", "pa"])
    assert asked == [("papa", "pa"), ("papa", "pa")]


def test_e2_parts_of_one_character_take_it_away_whole() -> None:
    _, asked = relevance_of("", [b"\xe2", b"\x82\xac", "5"])
    assert [other for _, other in asked] == ["5", "5", "\u20ac"]


@given(PIECES, st.sampled_from(TokenMask))
def test_e2_every_counted_token_of_every_answer_has_a_relevance(pieces, mask: TokenMask) -> None:
    # The seed had them for 0 to 41 of 400 items.
    found, _ = relevance_of("Q", pieces, mask)
    assert len(found) == len(count_tokens(generated(pieces, end=-1.0), mask).tokens)
    assert all(0.0 <= each <= 1.0 for each in found)


def test_a_token_that_wrote_nothing_of_the_text_has_no_relevance_and_asks_nothing() -> None:
    found, asked = relevance_of("Q", ["a", "\n"], TokenMask.EVERY_TOKEN)
    assert found[1:] == (0.0, 0.0)
    assert len(asked) == 1


def test_many_answers_are_asked_in_one_call() -> None:
    calls = []

    class Counts(SharedCharacters):
        def __call__(self, pairs):
            calls.append(len(pairs))
            return super().__call__(pairs)

    answers = [("Q", count_tokens(generated(pieces))) for pieces in (["a", " b"], [], ["c"])]
    assert [len(found) for found in token_relevance(answers, Counts())] == [2, 0, 1]
    assert calls == [3]


def test_e5_the_same_answer_to_another_question_is_another_pair() -> None:
    # The seed's key was the answer and the position: the first question's weights served all others.
    model, cache = SharedCharacters(), {}
    cached = CachedSimilarity(model, cache)
    for x in ("Q", "Another question"):
        token_relevance([(x, count_tokens(generated(["A", " b"])))], cached)
    assert len(cache) == 4
    assert len(model.asked) == 4


def test_e5_another_revision_of_the_model_is_asked_again() -> None:
    cache: dict[str, float] = {}
    pair = Pair("one", "on")
    for model in (SharedCharacters(), SharedCharacters(revision="2"), SharedCharacters(name="other")):
        CachedSimilarity(model, cache)([pair])
        assert model.asked == [pair]
    assert len(cache) == 3


@settings(max_examples=30)
@given(st.lists(st.tuples(st.text(min_size=1, max_size=3), st.just("")), max_size=6))
def test_a_cached_model_gives_the_same_scores_and_is_asked_once_a_pair(texts) -> None:
    pairs = [Pair(one, other) for one, other in texts]
    model = SharedCharacters()
    cached = CachedSimilarity(model, {})
    assert cached(pairs) == SharedCharacters()(pairs)
    assert cached(pairs[::-1]) == SharedCharacters()(pairs[::-1])
    assert len(model.asked) == len(set(pairs))


def test_where_two_texts_are_cut_is_part_of_the_key() -> None:
    cached = CachedSimilarity(SharedCharacters(), {})
    assert cached.key(Pair("ab", "c")) != cached.key(Pair("a", "bc"))
