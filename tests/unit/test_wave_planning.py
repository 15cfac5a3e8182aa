from hypothesis import given
from hypothesis import strategies as st

from overnight.planning.waves import Claim, summed, waves

SIZES = st.dictionaries(st.sampled_from(["host", "device"]), st.integers(0, 12))
CLAIMS = st.builds(
    Claim, needs=st.none() | SIZES, only_one=st.frozensets(st.sampled_from(["a", "b", "c"]), max_size=2)
)


def claim(device: int | None, *only_one: str) -> Claim:
    needs = None if device is None else {"device": device}
    return Claim(needs=needs, only_one=frozenset(only_one))


def test_a_small_model_fills_the_room_beside_an_earlier_one() -> None:
    # 3 + 1 of 10 go together although the 9 stands between them.
    assert waves([claim(3), claim(9), claim(1)], {"device": 10}, 4) == ((0, 2), (1,))


def test_a_model_whose_need_is_unknown_goes_alone() -> None:
    assert waves([claim(1), claim(None), claim(1)], {"device": 10}, 4) == ((0, 2), (1,))


def test_a_model_that_does_not_even_fit_alone_is_still_placed() -> None:
    # It begins lower on its ladder, or fails with its own reason; that is not decided here.
    assert waves([claim(11), claim(1)], {"device": 10}, 4) == ((0,), (1,))


def test_what_takes_nothing_needs_no_room() -> None:
    assert waves([Claim(needs={}), Claim(needs={})], {}, 2) == ((0, 1),)


def test_two_that_would_publish_under_one_name_are_never_held_together() -> None:
    assert waves([claim(1, "x"), claim(1, "x", "y"), claim(1, "y")], {"device": 10}, 4) == ((0, 2), (1,))


@given(
    claims=st.lists(CLAIMS, max_size=8),
    room=st.dictionaries(st.sampled_from(["host", "device"]), st.integers(0, 20)),
    limit=st.integers(1, 5),
)
def test_every_block_is_in_one_wave_in_order_and_no_wave_takes_more_than_there_is(
    claims: list[Claim], room: dict[str, int], limit: int
) -> None:
    found = waves(claims, room, limit)
    assert sorted(index for wave in found for index in wave) == list(range(len(claims)))
    assert [wave[0] for wave in found] == sorted(wave[0] for wave in found)
    for wave in found:
        assert list(wave) == sorted(wave)
        assert len(wave) <= limit
        if len(wave) == 1:
            continue
        total = summed([claims[index] for index in wave])
        assert total is not None
        assert all(n_bytes <= room.get(kind, 0) for kind, n_bytes in total.items())
        named = [name for index in wave for name in claims[index].only_one]
        assert len(named) == len(set(named))


@given(claims=st.lists(CLAIMS, max_size=8))
def test_a_limit_of_one_is_the_plan_itself(claims: list[Claim]) -> None:
    assert waves(claims, {"host": 99, "device": 99}, 1) == tuple((index,) for index in range(len(claims)))
