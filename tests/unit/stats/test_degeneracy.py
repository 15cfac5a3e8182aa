import pytest

from overnight.errors import UndefinedMetricError
from overnight.stats.degeneracy import Degeneracy, Limits, degeneracy, require_sound
from overnight.stats.scored_items import scored_items
from tests.unit.stats.scored import items_of, noisy

RIGHT, WRONG = [False] * 5, [True] * 5


@pytest.mark.parametrize(
    ("scores", "is_wrong", "kind", "says"),
    [
        ([], [], Degeneracy.NO_ITEMS, "no item has a label"),
        ([1.0], [None], Degeneracy.NO_ITEMS, "no item has a label"),
        ([None] * 10, RIGHT + WRONG, Degeneracy.MISSING_SCORES, "10 of 10 items have no score"),
        # What the seed did with 41 scores of 400: an AUROC of 1.0.
        ([1.0] * 8 + [None] * 2, RIGHT + WRONG, Degeneracy.MISSING_SCORES, "2 of 10 items have no score"),
        (range(5), WRONG, Degeneracy.ONE_CLASS, "0 right and 5 wrong answers"),
        (range(5), RIGHT, Degeneracy.ONE_CLASS, "5 right and 0 wrong answers"),
        (range(9), RIGHT + WRONG[:4], Degeneracy.FEW_OF_A_CLASS, "at least 5 of each"),
        ([2.5] * 10, RIGHT + WRONG, Degeneracy.CONSTANT_SCORE, "one score, 2.5, which ranks nothing"),
        # 16 of the 25 pairs tie.
        ([0] * 4 + [1] + [0] * 4 + [2], RIGHT + WRONG, Degeneracy.TIED_SCORES, "64% of the pairs"),
    ],
)
def test_a_degenerate_result_has_a_name_and_a_sentence(scores, is_wrong, kind, says) -> None:
    items = items_of(list(scores), is_wrong)
    found = degeneracy(items)
    assert found is not None
    assert found.kind == kind
    assert says in found.sentence
    with pytest.raises(UndefinedMetricError, match=says):
        require_sound(items)


def test_sound_items_have_no_finding_and_limits_are_the_readers() -> None:
    assert degeneracy(items_of(range(10), RIGHT + WRONG)) is None
    require_sound(noisy(40, seed=0))
    found = degeneracy(items_of(range(10), RIGHT + WRONG), Limits(fewest_of_a_class=6))
    assert found.kind == Degeneracy.FEW_OF_A_CLASS
    with pytest.raises(ValueError, match="at least 2"):
        Limits(fewest_of_a_class=1)


def test_items_align_by_key_and_what_is_missing_is_counted() -> None:
    items = scored_items(
        {"b": 2.0, "a": 1.0, "c": None, "d": 4.0}, {"a": True, "b": False, "c": True, "d": None}
    )
    assert items.keys == ("a", "b")
    assert items.uncertainty.tolist() == [1.0, 2.0]
    assert items.is_wrong.tolist() == [False, True]
    assert items.correctness.tolist() == [1.0, 0.0]
    assert (items.n_without_score, items.n_without_label) == (1, 1)
    assert items.missing_share == pytest.approx(1 / 3)


def test_ties_are_counted_over_pairs_of_a_wrong_and_a_right_answer() -> None:
    # Right 1, 2, 2; wrong 2, 3: of 6 pairs the wrong 2 ties with two.
    assert items_of([1, 2, 2, 2, 3], [False, False, False, True, True]).tie_share == pytest.approx(2 / 6)
    assert items_of([1, 1], [True, True]).tie_share is None


def test_an_infinite_score_is_refused() -> None:
    with pytest.raises(ValueError, match="item a is nan"):
        scored_items({"a": float("nan")}, {"a": True})
