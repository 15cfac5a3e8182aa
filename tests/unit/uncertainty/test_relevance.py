from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.uncertainty.answer import TokenMask, count_tokens
from overnight.uncertainty.relevance import Pair, token_relevance
from overnight.uncertainty.relevance import relevance_of as relevance_of_many
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


class Counts(SharedCharacters):
    """Remembers how many pairs went to it at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        self.calls.append(len(pairs))
        return super().__call__(pairs)


@given(
    st.lists(st.tuples(st.sampled_from(["", "Q", "A longer question"]), PIECES), max_size=6),
    st.integers(1, 9),
)
def test_the_relevance_of_many_answers_is_that_of_each(answers, pairs_at_once: int) -> None:
    counted = [(x, count_tokens(generated(pieces))) for x, pieces in answers]
    one_by_one = [token_relevance([each], SharedCharacters())[0] for each in counted]
    assert relevance_of_many(counted, SharedCharacters(), pairs_at_once=pairs_at_once) == one_by_one


def test_many_answers_go_to_the_model_some_at_a_time_and_progress_is_told() -> None:
    answers = [("Q", count_tokens(generated(["a", " b", " c"]))) for _ in range(5)]
    model, told = Counts(), []
    relevance_of_many(answers, model, progress=lambda *done: told.append(done), pairs_at_once=7)
    assert model.calls == [6, 6, 3]
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_an_answer_of_many_tokens_is_asked_whole() -> None:
    model = Counts()
    relevance_of_many([("", count_tokens(generated([" w"] * 9)))], model, pairs_at_once=4)
    assert model.calls == [9]


def test_an_answer_whose_tokens_do_not_spell_its_text_has_no_relevance_and_asks_nothing() -> None:
    model = Counts()
    assert relevance_of_many([("Q", count_tokens(generated(["a"], text="other")))], model) == [()]
    assert model.asked == []
