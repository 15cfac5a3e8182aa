import math
from dataclasses import replace

import pytest

from overnight.records import Arm, Condition, Item, ItemType, Prediction, Score
from overnight.scoring.aggregate import aggregate

ITEM = Item(
    dataset="squad_v2", item_id="7", type=ItemType.OPEN, question="Who?", answers=(), context="A fox."
)
ARM = Arm(condition=Condition.CONTROL, temperature=0.7)
ABSTAINS = Score(
    exact_match=1.0, f1=1.0, is_abstention=True, is_empty=False, false_answer=0.0, unsupported=None
)
ANSWERS = Score(
    exact_match=0.0, f1=0.0, is_abstention=False, is_empty=False, false_answer=1.0, unsupported=1.0
)


def draw(index: int, score: Score) -> tuple[Prediction, Score]:
    return Prediction(custom_id=f"{index}", item=ITEM, arm=ARM, sample_index=index, text=""), score


def test_a_row_by_hand() -> None:
    row = aggregate([draw(0, ABSTAINS), draw(1, ANSWERS), draw(2, ANSWERS)])
    assert (row.dataset, row.item_key, row.type) == ("squad_v2", "squad_v2|7", ItemType.OPEN)
    assert (row.condition, row.temp, row.n_samples) == (Condition.CONTROL, 0.7, 3)
    # {1, 0, 0}: mean 1/3; squared deviations 4/9 + 1/9 + 1/9 = 2/3, over n - 1 = 2.
    assert row.em == pytest.approx(1 / 3)
    assert row.em_std == pytest.approx(math.sqrt(1 / 3))
    assert row.abstain_rate == pytest.approx(1 / 3)
    assert row.false_answer_rate == pytest.approx(2 / 3)


def test_a_metric_is_averaged_over_the_draws_that_define_it() -> None:
    row = aggregate([draw(0, ABSTAINS), draw(1, ANSWERS), draw(2, replace(ANSWERS, unsupported=0.0))])
    assert row.unsupported_rate == 0.5  # {1, 0}; the draw that abstains claims nothing
    assert row.unsupported_rate_std == pytest.approx(math.sqrt(0.5))


def test_one_draw_has_no_standard_deviation() -> None:
    row = aggregate([draw(0, ABSTAINS)])
    assert (row.em, row.em_std, row.abstain_rate_std) == (1.0, None, None)
    assert (row.unsupported_rate, row.unsupported_rate_std) == (None, None)


def test_equal_draws_have_a_standard_deviation_of_zero() -> None:
    row = aggregate([draw(i, replace(ABSTAINS, f1=0.1)) for i in range(3)])
    assert (row.f1_std, row.em_std) == (0.0, 0.0)


def test_the_order_of_the_draws_does_not_matter() -> None:
    draws = [draw(i, replace(ABSTAINS, f1=1 / (i + 1))) for i in range(9)]
    assert aggregate(draws[4:] + draws[3::-1]) == aggregate(draws)


def test_draws_of_two_arms_are_refused() -> None:
    prediction, score = draw(1, ANSWERS)
    other = replace(prediction, arm=Arm(condition=Condition.TREATMENT, temperature=0.7))
    with pytest.raises(ValueError, match="several items or arms"):
        aggregate([draw(0, ANSWERS), (other, score)])


def test_the_same_draw_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        aggregate([draw(0, ANSWERS), draw(0, ABSTAINS)])


def test_no_draws_make_no_row() -> None:
    with pytest.raises(ValueError, match="no draws"):
        aggregate([])
