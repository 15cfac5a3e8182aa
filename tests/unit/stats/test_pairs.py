import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.stats.pairs import pair

VALUES = st.dictionaries(st.sampled_from("abcdef"), st.none() | st.floats(0, 1))


def test_pairs_by_hand() -> None:
    pairs = pair(
        {"a": 0.0, "b": 1.0, "c": 0.5, "d": None, "e": None},
        {"b": 0.0, "a": 1.0, "d": 1.0, "e": None, "f": 1.0},
    )
    assert pairs.keys == ("a", "b")
    assert pairs.control.tolist() == [0.0, 1.0]
    assert pairs.differences.tolist() == [1.0, -1.0]
    assert (pairs.unpaired, pairs.half_defined, pairs.undefined) == (("c", "f"), ("d",), ("e",))
    # defined rows: a, b, c in control; a, b, d, f in treatment. Of 7 rows, 4 have a partner.
    assert pairs.pairing_rate == pytest.approx(4 / 7)


def test_perfect_pairing_is_a_rate_of_one() -> None:
    # The original divided pairs by rows: perfect pairing printed 50.0 %.
    assert pair({"a": 0.0, "b": 1.0}, {"a": 1.0, "b": 1.0}).pairing_rate == 1.0


def test_items_for_which_the_metric_does_not_exist_do_not_spoil_the_rate() -> None:
    # A false-answer rate is defined on unanswerable items only.
    assert pair({"a": 0.0, "b": None}, {"a": 1.0, "b": None}).pairing_rate == 1.0


def test_without_rows_there_is_no_rate() -> None:
    assert pair({}, {}).pairing_rate is None
    assert pair({"a": 1.0}, {"b": 1.0}).pairing_rate == 0.0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_refused_with_its_item(value: float) -> None:
    with pytest.raises(ValueError, match="treatment value of item q7"):
        pair({"q7": 1.0}, {"q7": value})


@given(VALUES, VALUES)
def test_swapping_the_arms_negates_the_differences(
    control: dict[str, float | None], treatment: dict[str, float | None]
) -> None:
    there, back = pair(control, treatment), pair(treatment, control)
    assert there.differences.tolist() == (-back.differences).tolist()
    assert (there.unpaired, there.half_defined, there.undefined) == (
        back.unpaired,
        back.half_defined,
        back.undefined,
    )
    assert there.pairing_rate == back.pairing_rate


@given(VALUES, VALUES)
def test_every_item_is_in_exactly_one_list(
    control: dict[str, float | None], treatment: dict[str, float | None]
) -> None:
    pairs = pair(control, treatment)
    listed = [*pairs.keys, *pairs.unpaired, *pairs.half_defined, *pairs.undefined]
    assert sorted(listed) == sorted(control.keys() | treatment.keys())


@given(VALUES)
def test_the_order_of_the_rows_does_not_matter(control: dict[str, float | None]) -> None:
    backwards = dict(reversed(control.items()))
    assert pair(control, control).control.tolist() == pair(backwards, control).control.tolist()
