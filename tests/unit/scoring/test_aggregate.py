import hashlib
import math
from dataclasses import replace

import pytest

from overnight.records import Arm, Condition, FinishReason, Item, ItemType, Prediction, Score
from overnight.scoring.aggregate import aggregate, cluster_of

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


def test_truncation_is_a_share_of_the_draws_of_which_the_end_is_known() -> None:
    reasons = [FinishReason.LENGTH, FinishReason.STOP, FinishReason.STOP, None]
    draws = [
        (replace(prediction, finish_reason=reason), score)
        for reason, (prediction, score) in zip(reasons, (draw(i, ANSWERS) for i in range(4)), strict=True)
    ]
    assert aggregate(draws).truncated_rate == pytest.approx(1 / 3)
    assert aggregate(draws[3:]).truncated_rate is None


def test_confidence_is_the_mean_probability_and_absent_without_log_probabilities() -> None:
    # exp(ln .5) = .5 and exp(0) = 1: mean .75; the draw without one is left out.
    draws = [
        (replace(prediction, mean_logprob=logprob), score)
        for logprob, (prediction, score) in zip(
            (math.log(0.5), 0.0, None), (draw(i, ANSWERS) for i in range(3)), strict=True
        )
    ]
    assert aggregate(draws).confidence == pytest.approx(0.75)
    assert aggregate(draws[2:]).confidence is None


def test_items_on_one_passage_are_one_cluster_and_a_closed_item_is_its_own() -> None:
    digest = hashlib.sha256(b"A fox.").hexdigest()[:16]
    assert cluster_of(ITEM) == cluster_of(replace(ITEM, item_id="8")) == digest
    closed = replace(ITEM, type=ItemType.CLOSED, context=None)
    assert cluster_of(closed) == "squad_v2|7"


def test_whether_an_item_has_an_answer_is_unknown_for_a_closed_item_without_golds() -> None:
    def answerable(**changes: object) -> bool | None:
        prediction, score = draw(0, ANSWERS)
        return aggregate([(replace(prediction, item=replace(ITEM, **changes)), score)]).answerable  # type: ignore[arg-type]

    assert answerable() is False
    assert answerable(answers=("x",)) is True
    assert answerable(type=ItemType.CLOSED, context=None) is None


def test_rouge_and_emptiness_are_averaged_like_the_others() -> None:
    row = aggregate(
        [draw(0, replace(ANSWERS, rouge_l=0.2, rouge_accuracy=1.0)), draw(1, replace(ANSWERS, rouge_l=0.4))]
    )
    assert row.rouge_l == pytest.approx(0.3)
    assert row.rouge_l_std == pytest.approx(math.sqrt(0.02))  # squared deviations .01 + .01, over n - 1 = 1
    assert (row.rouge_accuracy, row.empty_rate) == (1.0, 0.0)
