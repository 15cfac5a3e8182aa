from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.errors import UndefinedMetricError
from overnight.stats.selective_risk import risk_coverage, tie_averaged_aurc

# Confidence of few levels, so that ties are the rule.
ANSWERS = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=2, max_size=6).filter(
    lambda answers: len({confidence for confidence, _ in answers}) > 1
)


def curve(answers, n_items=None):
    confidence, right = (np.array(column, dtype=float) for column in zip(*answers, strict=True))
    return risk_coverage(confidence, right, n_items=n_items or len(answers))


def test_a_curve_worked_out_by_hand() -> None:
    # Five items, one of them not answered. Risks 0, (.5 of a tie of one wrong in two) / 2, 1/3, 2/4.
    by_hand = curve([(0.9, 1), (0.8, 0), (0.8, 1), (0.1, 0)], n_items=5)
    assert by_hand.aurc == pytest.approx((0 + 1 / 4 + 1 / 3 + 2 / 4) / 4)
    assert by_hand.aurc_optimal == pytest.approx((0 + 0 + 1 / 3 + 2 / 4) / 4)
    assert by_hand.coverage == 0.8
    assert by_hand.risk == 0.5
    assert [by_hand.risk_at(c) for c in (0.2, 0.4, 0.6, 0.8)] == pytest.approx([0, 1 / 4, 1 / 3, 1 / 2])


@given(ANSWERS)
def test_ties_are_the_mean_over_all_orders_of_the_tied_answers(answers) -> None:
    areas = []
    for order in permutations(answers):
        if any(a[0] < b[0] for a, b in pairwise(order)):
            continue
        wrong = np.cumsum([not right for _, right in order])
        areas.append(np.mean(wrong / np.arange(1, len(order) + 1)))
    assert curve(answers).aurc == pytest.approx(np.mean(areas))


@given(ANSWERS, st.randoms())
def test_the_order_of_the_rows_is_immaterial(answers, random) -> None:
    shuffled = random.sample(answers, len(answers))
    assert curve(shuffled).aurc == pytest.approx(curve(answers).aurc, abs=1e-12)
    assert curve(shuffled).n_wrong.tolist() == curve(answers).n_wrong.tolist()


@given(ANSWERS)
def test_only_the_order_of_confidence_counts(answers) -> None:
    assert curve([(np.exp(7 * c), right) for c, right in answers]).aurc == pytest.approx(curve(answers).aurc)


@given(ANSWERS)
def test_no_order_beats_the_optimal_one_and_risks_are_shares(answers) -> None:
    found = curve(answers)
    assert 0 <= found.aurc_optimal <= found.aurc + 1e-12 <= 1 + 1e-9
    assert found.excess_aurc >= 0


def test_one_confidence_for_all_would_be_the_plain_risk() -> None:
    # All 4 in one tie, 3 of them wrong: E[wrong among the first k] / k = 3/4 at every k.
    assert tie_averaged_aurc(np.array([[4]]), np.array([[3.0]]))[0] == pytest.approx(0.75)


def test_a_perfect_ranking_has_no_excess() -> None:
    assert curve([(3, 1), (2, 1), (1, 0)]).excess_aurc == pytest.approx(0, abs=1e-12)


def test_coverage_is_over_all_items_so_it_may_not_be_reached() -> None:
    with pytest.raises(UndefinedMetricError, match="2 of 4 items are answered"):
        curve([(0.9, 1), (0.1, 0)], n_items=4).risk_at(0.75)


def test_an_item_with_several_draws_may_be_half_wrong() -> None:
    assert curve([(0.9, 0.5), (0.1, 0)]).aurc == pytest.approx((0.5 / 1 + 1.5 / 2) / 2)


@pytest.mark.parametrize(
    ("answers", "reason"), [([], "none of 3"), ([0.5], "one confidence"), ([0.5, 0.5], "ranks nothing")]
)
def test_without_a_ranking_there_is_no_curve(answers: list[float], reason: str) -> None:
    with pytest.raises(UndefinedMetricError, match=reason):
        risk_coverage(np.array(answers), np.ones(len(answers)), n_items=3)


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        curve([(0.9, 2.0), (0.1, 0)])
    with pytest.raises(ValueError, match="not finite"):
        curve([(np.nan, 1), (0.1, 0)])
    with pytest.raises(ValueError, match="1 items"):
        curve([(0.9, 1), (0.1, 0)], n_items=1)
    with pytest.raises(ValueError, match="coverage"):
        curve([(0.9, 1), (0.1, 0)]).risk_at(0.0)
