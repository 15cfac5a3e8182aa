"""When the next request may go to a server: the rule, with a clock of its own."""

import asyncio
import random
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.engines.openai.pacing import Gate, Pace, back_off_s, retry_after_s
from overnight.errors import RateLimited


def test_as_many_go_at_once_as_are_allowed() -> None:
    pace = Pace(most=2)
    pace.start(0)
    assert pace.wait_s(0) == 0
    pace.start(0)
    assert pace.wait_s(0) is None
    pace.end()
    assert pace.wait_s(0) == 0


def test_a_refusal_pauses_everybody_and_halves_what_is_allowed() -> None:
    pace = Pace(most=8)
    pace.start(10)
    pace.refused(11, started=10, wait_s=5)
    pace.end()
    assert pace.allowed == 4
    assert pace.wait_s(11) == 5
    assert pace.wait_s(16) == 0


def test_requests_that_were_sent_before_anybody_knew_halve_it_once() -> None:
    # Eight refusals of one congested moment are one piece of news; TCP counts a window's losses the same way.
    pace = Pace(most=8)
    for _ in range(8):
        pace.refused(11, started=10, wait_s=1)
    assert pace.allowed == 4
    pace.refused(13, started=12, wait_s=1)  # sent since, and refused again
    assert pace.allowed == 2


def test_a_longer_pause_is_not_cut_short_by_a_shorter_one() -> None:
    pace = Pace(most=8)
    pace.refused(0, started=0, wait_s=60)
    pace.refused(1, started=0, wait_s=1)
    assert pace.wait_s(1) == 59


def test_one_request_always_stays_allowed() -> None:
    pace = Pace(most=4)
    for now in range(20):
        pace.refused(now, started=now, wait_s=0)
    assert pace.allowed == 1


def test_answers_bring_one_more_per_window_up_to_the_most() -> None:
    pace = Pace(most=8)
    pace.refused(0, started=0, wait_s=0)
    for _ in range(4):  # a window of 4; 1/4 + 1/4.25 + ... is a little less than 1
        pace.answered()
    assert pace.allowed == 4
    pace.answered()
    assert pace.allowed == 5
    for _ in range(100):
        pace.answered()
    assert pace.allowed == 8


def test_starts_are_spread_evenly_over_the_minute() -> None:
    pace = Pace(most=100, per_minute=30)
    starts = []
    now = 0.0
    for _ in range(4):
        now += pace.wait_s(now)
        pace.start(now)
        starts.append(now)
    assert starts == [0, 2, 4, 6]
    # A quiet minute saves up nothing for a burst.
    assert pace.wait_s(100) == 0
    pace.start(100)
    assert pace.wait_s(100) == 2


@given(st.lists(st.sampled_from(["answered", "refused"]), max_size=60), st.integers(1, 64))
def test_between_one_and_the_most_are_allowed_whatever_happens(events: list[str], most: int) -> None:
    pace = Pace(most=most)
    for now, event in enumerate(events):
        if event == "answered":
            pace.answered()
        else:
            pace.refused(now, started=now, wait_s=0)
        assert 1 <= pace.allowed <= most


def test_a_cancelled_request_gives_its_turn_back() -> None:
    async def cancel() -> str:
        gate = Gate(Pace(most=1))

        async def stay() -> None:
            async with gate.turn():
                await asyncio.sleep(60)

        async def follow() -> str:
            async with gate.turn():
                return "went"

        holding = asyncio.create_task(stay())
        waiting = [asyncio.create_task(follow()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        holding.cancel()
        return (await asyncio.gather(*waiting[1:]))[0]

    assert asyncio.run(asyncio.wait_for(cancel(), 5)) == "went"


def test_a_pause_is_waited_out_for_as_long_as_there_is_patience() -> None:
    async def enter(patience_s: float) -> float:
        gate = Gate(Pace(most=1))
        gate.refused(started=0, wait_s=0.05)
        began = time.monotonic()
        async with gate.turn(patience_s):
            return time.monotonic() - began

    assert asyncio.run(enter(5)) >= 0.04
    with pytest.raises(RateLimited, match="patience_s"):
        asyncio.run(enter(0.01))


def test_a_turn_among_others_takes_no_patience() -> None:
    # Whoever waits behind others, or for the next start of the minute, waits for us and not for the server.
    async def queue() -> int:
        gate = Gate(Pace(most=1, per_minute=1200))

        async def go() -> int:
            async with gate.turn(patience_s=0):
                await asyncio.sleep(0.01)
                return 1

        return sum(await asyncio.gather(*(go() for _ in range(4))))

    assert asyncio.run(queue()) == 4


@given(st.integers(1, 1000), st.integers(0, 2**32))
def test_a_wait_is_anything_up_to_a_bound_that_doubles(attempt: int, seed: int) -> None:
    bound = min(60.0, 2.0 ** (attempt - 1))
    assert 0 <= back_off_s(attempt, random.Random(seed)) <= bound


def test_waits_are_spread_over_all_of_the_bound() -> None:
    # Full jitter: evenly from 0 to 8, so the mean of many is near 4.
    numbers = random.Random(1)
    waits = [back_off_s(4, numbers) for _ in range(4000)]
    assert sum(waits) / len(waits) == pytest.approx(4, rel=0.05)
    assert min(waits) < 0.1
    assert max(waits) > 7.9


NOW = datetime(2015, 10, 21, 7, 27, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("1.5", 1.5),  # against RFC 9110, and sent all the same
        ("Wed, 21 Oct 2015 07:28:00 GMT", 60),  # RFC 9110's own example of a date
        ("Wed, 21 Oct 2015 07:26:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_what_a_server_asks_for_is_read_as_seconds_or_as_a_date(text: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": text}, NOW) == seconds


def test_a_server_that_asks_for_nothing_is_not_given_a_number() -> None:
    assert retry_after_s({}, NOW) is None
