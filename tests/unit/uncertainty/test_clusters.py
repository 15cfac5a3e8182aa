from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.uncertainty.clusters import cluster_by_entailment, clusters_of
from overnight.uncertainty.relevance import Pair

# Small texts, so that some are equal; what entails what is any relation at all.
TEXTS = st.lists(st.sampled_from("abcde"), max_size=6)
ITEMS = st.lists(st.tuples(st.sampled_from(["", "Q", "R"]), TEXTS), max_size=4)
RELATION = st.sets(st.tuples(st.sampled_from("abcde"), st.sampled_from("abcde")))


@dataclass
class Relation:
    """An entailment: these last letters follow from those."""

    pairs: set[tuple[str, str]]
    calls: list[list[Pair]] = field(default_factory=list)
    name: str = "relation"
    revision: str = "1"

    def __call__(self, pairs: Sequence[Pair]) -> list[bool]:
        self.calls.append(list(pairs))
        return [(one[-1], other[-1]) in self.pairs for one, other in pairs]


@given(ITEMS, RELATION)
def test_the_clusters_of_many_items_are_those_of_each(items, relation) -> None:
    def alone(texts: Sequence[str]) -> tuple[int, ...]:
        return cluster_by_entailment(
            len(texts), lambda i, j: texts[i] == texts[j] or (texts[i], texts[j]) in relation
        )

    assert clusters_of(items, Relation(relation)) == [alone(texts) for _, texts in items]


def test_entailment_is_asked_in_both_directions() -> None:
    # "b" follows from "a" and "a" does not follow from "b": two meanings.
    model = Relation({("a", "b")})
    assert clusters_of([("", ["a", "b"])], model) == [(0, 1)]
    assert [pair for call in model.calls for pair in call] == [("a", "b"), ("b", "a")]
    assert clusters_of([("", ["a", "b"])], Relation({("a", "b"), ("b", "a")})) == [(0, 0)]


def test_answers_are_asked_behind_their_question() -> None:
    model = Relation(set())
    clusters_of([("Who?", ["a", "b"])], model)
    assert model.calls == [[("Who? a", "Who? b")]]


def test_equal_texts_are_one_cluster_and_nobody_is_asked() -> None:
    # A sampler at a low temperature gives little else.
    model = Relation(set())
    assert clusters_of([("Q", ["a"] * 10)] * 3, model) == [(0,) * 10] * 3
    assert model.calls == []


def test_all_items_are_asked_in_one_call_a_step() -> None:
    items = [(f"Q{number}", ["a", "b"]) for number in range(50)]
    model, told = Relation({("a", "b"), ("b", "a")}), []
    clusters_of(items, model, progress=lambda *done: told.append(done))
    assert [len(call) for call in model.calls] == [50, 50]
    assert told[-1] == (50, 50)


def test_items_without_samples_have_no_clusters() -> None:
    assert clusters_of([("Q", []), ("Q", ["a"])], Relation(set())) == [(), (0,)]


def test_a_model_that_skips_pairs_is_refused() -> None:
    class Skips(Relation):
        def __call__(self, pairs):
            return []

    with pytest.raises(ValueError, match="relation gave 0 verdicts for 1 pairs"):
        clusters_of([("", ["a", "b"])], Skips(set()))
