from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overnight.store.cache_checking import verify
from overnight.store.cache_listing import cache_entries, summarise
from overnight.store.pair_cache import PairCache, pair_key
from overnight.text_models.asked import AskedPairs, TextEntailment, TextSimilarity
from overnight.text_models.values import PairValues
from overnight.uncertainty.answer import count_tokens
from overnight.uncertainty.relevance import Pair, relevance_of
from tests.unit.uncertainty.answers import generated


@dataclass
class Model:
    """Says of a pair the share of characters that the texts have in common; cut where it is long."""

    calls: list[int] = field(default_factory=list)
    asked: list[Pair] = field(default_factory=list)

    def __call__(self, pairs: Sequence[Pair]) -> list[PairValues]:
        self.calls.append(len(pairs))
        self.asked += pairs
        return [PairValues([len(two) / max(len(one), 1)], len(one) > 9) for one, two in pairs]


def similarity(root: Path, model: Model, revision: str = "r" * 64) -> TextSimilarity:
    return TextSimilarity("m", revision, model, PairCache(revision, {"model": "m"}, root))


def test_a_pair_is_asked_once_in_any_process(tmp_path: Path) -> None:
    first, second = Model(), Model()
    pairs = [Pair("one", "on"), Pair("one", "o"), Pair("one", "on")]
    assert similarity(tmp_path, first)(pairs) == [2 / 3, 1 / 3, 2 / 3]
    again = similarity(tmp_path, second)
    assert again(pairs) == [2 / 3, 1 / 3, 2 / 3]
    assert sorted(first.asked) == [("one", "o"), ("one", "on")]
    assert second.asked == []
    assert (again.n_computed, again.n_found) == (0, 2)


def test_e5_the_same_answer_to_another_question_is_another_pair(tmp_path: Path) -> None:
    # The seed's key was the answer and the position: the first question's weights served all others.
    model = Model()
    asks = similarity(tmp_path, model)
    for x in ("Q", "Another question"):
        relevance_of([(x, count_tokens(generated(["A", " b"])))], asks)
    assert len(set(model.asked)) == len(model.asked) == 4


def test_e5_another_revision_of_the_model_is_asked_again(tmp_path: Path) -> None:
    for revision in ("a" * 64, "b" * 64):
        model = Model()
        similarity(tmp_path, model, revision)([Pair("one", "on")])
        assert model.asked == [("one", "on")]


def test_where_two_texts_are_cut_is_part_of_the_key() -> None:
    assert pair_key("ab", "c") != pair_key("a", "bc")


@settings(max_examples=30)
@given(st.lists(st.tuples(st.text(min_size=1, max_size=3), st.text(max_size=3)), max_size=6))
def test_kept_values_are_the_ones_that_were_said(tmp_path_factory: pytest.TempPathFactory, texts) -> None:
    pairs = [Pair(one, other) for one, other in texts]
    root, model = tmp_path_factory.mktemp("cache"), Model()
    plain = [found.values[0] for found in Model()(pairs)]
    assert similarity(root, model)(pairs) == similarity(root, model)(pairs) == plain
    assert len(model.asked) == len(set(pairs))


def test_texts_that_are_no_utf8_are_kept_as_well(tmp_path: Path) -> None:
    model = Model()
    for _ in range(2):
        similarity(tmp_path, model)([Pair("a\ud83d", "a")])
    assert len(model.asked) == 1


def test_what_was_said_is_kept_while_the_rest_is_still_asked(tmp_path: Path) -> None:
    # Whoever is killed in the middle of ten thousand pairs has the first ones.
    class Dies(Model):
        def __call__(self, pairs: Sequence[Pair]) -> list[PairValues]:
            if self.calls:
                raise KeyboardInterrupt
            return super().__call__(pairs)

    pairs = [Pair(f"text {number:04}", "text") for number in range(1000)]
    with pytest.raises(KeyboardInterrupt):
        similarity(tmp_path, Dies())(pairs)
    rest = Model()
    similarity(tmp_path, rest)(pairs)
    assert 0 < len(rest.asked) < 1000


def test_pairs_of_like_length_go_to_the_model_together(tmp_path: Path) -> None:
    model = Model()
    similarity(tmp_path, model)([Pair("x" * length, "x") for length in (3, 9, 1, 7)])
    assert [len(one) for one, _ in model.asked] == [9, 7, 3, 1]


def test_cut_texts_are_counted_whether_kept_or_not(tmp_path: Path) -> None:
    for _ in range(2):
        asks = similarity(tmp_path, Model())
        asks([Pair("a long text", "a"), Pair("short", "s")])
        assert asks.n_cut == 1


def test_a_damaged_line_is_asked_again_and_named(tmp_path: Path) -> None:
    similarity(tmp_path, Model())([Pair("one", "on")])
    [segment] = (tmp_path / "text_pairs").rglob("*.answers")
    segment.write_bytes(segment.read_bytes().replace(b'"cut":false', b'"cut":fALSE'))
    [entry] = cache_entries(tmp_path, ["text_pairs"])
    assert [problem.found for problem in verify(entry)] != []
    model = Model()
    assert similarity(tmp_path, model)([Pair("one", "on")]) == [2 / 3]
    assert model.asked == [("one", "on")]


def test_kept_pairs_are_among_the_caches(tmp_path: Path) -> None:
    similarity(tmp_path, Model())([Pair("one", "on"), Pair("one", "o")])
    [summary] = summarise(cache_entries(tmp_path))
    assert (summary.kind, summary.entries, summary.answers) == ("text_pairs", 1, 2)


def test_a_cache_that_cannot_be_written_to_costs_time_and_no_run(tmp_path: Path, caplog) -> None:
    (tmp_path / "text_pairs").write_text("a file in the folder's place")
    asks = similarity(tmp_path, Model())
    assert asks([Pair("one", "on")]) == asks([Pair("one", "on")]) == [2 / 3]
    assert "cannot be" in caplog.text


def test_a_text_follows_where_entailment_is_the_likeliest_label(tmp_path: Path) -> None:
    said = {"a": [0.4, 0.3, 0.3], "b": [0.4, 0.5, 0.1], "c": [0.5, 0.5]}
    entails = TextEntailment(
        "m",
        "r" * 64,
        lambda pairs: [PairValues(said[one], is_cut=False) for one, _ in pairs],
        PairCache("r" * 64, {}, tmp_path),
    )
    assert entails([Pair("a", ""), Pair("b", ""), Pair("c", "")]) == [True, False, False]


def test_nothing_is_asked_of_nothing(tmp_path: Path) -> None:
    model = Model()
    assert AskedPairs("m", "r" * 64, model, PairCache("r" * 64, {}, tmp_path)).values([]) == []
    assert model.calls == []
