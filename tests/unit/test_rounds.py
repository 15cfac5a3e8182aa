"""The order of work against a deadline."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from overnight.planning.parts import Part, split_parts
from overnight.planning.rounds import interleaved, last_call, next_time, next_turn, share_of_time, slices
from overnight.records import Item, ItemType

EVENING = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)


def parts(**sizes: int) -> tuple[Part, ...]:
    items = [
        Item(dataset=name, item_id=str(n), type=ItemType.CLOSED, question="?", answers=("a",))
        for name, size in sizes.items()
        for n in range(size)
    ]
    return split_parts(items, parts_per_dataset=1, lines_per_part=2)


def test_a_morning_deadline_is_tomorrow_in_the_evening_and_today_in_the_night() -> None:
    assert next_time("07:00", EVENING) == datetime(2026, 3, 2, 7, 0, tzinfo=UTC)
    assert next_time("07:00", EVENING.replace(hour=3)) == datetime(2026, 3, 1, 7, 0, tzinfo=UTC)


def test_a_deadline_at_this_very_minute_is_a_day_away() -> None:
    # A run that is told 22:00 at 22:00:00 would otherwise end before it began.
    assert next_time("22:00", EVENING) == EVENING + timedelta(days=1)


def test_a_deadline_is_in_the_zone_of_the_clock_that_is_looked_at() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert next_time("07:00", EVENING.astimezone(tokyo)) == datetime(
        2026, 3, 1, 22, 0, tzinfo=UTC
    ) + timedelta(days=1)
    assert next_time("07:30", EVENING.astimezone(tokyo)) == EVENING + timedelta(minutes=30)


def test_a_night_keeps_a_minute_for_its_report_and_a_short_run_a_tenth() -> None:
    assert last_call(EVENING + timedelta(hours=9), EVENING) == EVENING + timedelta(hours=9, minutes=-1)
    assert last_call(EVENING + timedelta(seconds=100), EVENING) == EVENING + timedelta(seconds=90)


def test_two_datasets_take_turns_by_the_share_that_is_asked() -> None:
    order = [item.dataset for _, item in interleaved(parts(large=6, small=2))]
    assert order == ["large", "large", "small", "large", "large", "large", "small", "large"]


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.data())
def test_wherever_it_is_cut_the_datasets_are_asked_to_the_same_share(
    sizes: list[int], data: st.DataObject
) -> None:
    # A cut in dataset order would leave whole datasets out, as the first so many items of a file would.
    named = {f"d{n}": size for n, size in enumerate(sizes)}
    order = interleaved(parts(**named))
    cut = data.draw(st.integers(0, len(order)))
    for name, size in named.items():
        n_asked = sum(item.dataset == name for _, item in order[:cut])
        assert abs(n_asked - cut * size / len(order)) <= len(sizes)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(1, 9))
def test_slices_hold_every_item_once_and_under_its_own_part(sizes: list[int], n_items: int) -> None:
    planned = parts(**{f"d{n}": size for n, size in enumerate(sizes)})
    order = interleaved(planned)
    found = [
        (part.name, item)
        for start in range(0, len(order), n_items)
        for part in slices(order[start : start + n_items])
        for item in part.items
    ]
    assert sorted(found, key=str) == sorted(
        ((part.name, item) for part in planned for item in part.items), key=str
    )


def test_turns_grow_to_the_time_they_should_take_and_no_faster_than_fourfold() -> None:
    assert next_turn(4, took_s=2.0, wanted_s=6.0) == 12
    assert next_turn(4, took_s=0.1, wanted_s=60.0) == 16
    assert next_turn(4, took_s=0.0, wanted_s=60.0) == 16  # all of it was there before
    assert next_turn(4, took_s=60.0, wanted_s=1.0) == 1


def test_blocks_share_the_time_by_what_they_have_left_to_ask() -> None:
    assert share_of_time([300, 100], 400.0) == 300.0
    assert share_of_time([100], 130.0) == 130.0
    assert share_of_time([0, 0], 100.0) == 0.0
