"""How many requests may be under way, and when the next one may go: as much as the server bears.

Additive increase, multiplicative decrease (Chiu and Jain 1989), as TCP does it: a refusal halves what may be under way,
once for all requests that were sent before anybody knew of it; every answer adds a little, one whole request for as
many answers as fit at a time.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from overnight.errors import RateLimited


class Pace:
    """The rule alone: no clock and no waiting of its own; times are seconds of any one clock."""

    def __init__(self, *, most: int, per_minute: int | None = None) -> None:
        """Begin with all of it allowed.

        Args:
            most: requests that may be under way at best.
            per_minute: starts in a minute at best, evenly spread; None is no limit.
        """
        self._most = most
        self._spacing_s = 60 / per_minute if per_minute else 0.0
        self._allowed = float(most)
        self._under_way = 0
        self._paused_until = float("-inf")
        self._next_start = float("-inf")
        self._halved_at = float("-inf")

    @property
    def allowed(self) -> int:
        """How many requests may be under way now."""
        return int(self._allowed)

    def wait_s(self, now: float) -> float | None:
        """Return the seconds until a request may start, 0 at once; None until another one ends."""
        if self._under_way >= self.allowed:
            return None
        return max(0.0, self._paused_until - now, self._next_start - now)

    def pause_s(self, now: float) -> float:
        """Return for how many seconds more the server wants to be left alone."""
        return max(0.0, self._paused_until - now)

    def start(self, now: float) -> None:
        """Count a request that goes now."""
        self._under_way += 1
        self._next_start = max(self._next_start, now) + self._spacing_s

    def end(self) -> None:
        """Count a request that is over, however it ended."""
        self._under_way -= 1

    def answered(self) -> None:
        """Allow a little more."""
        self._allowed = min(self._most, self._allowed + 1 / self._allowed)

    def refused(self, now: float, *, started: float, wait_s: float) -> None:
        """Let nobody start before ``wait_s`` is over; halve what is allowed, unless that was done since it started."""
        self._paused_until = max(self._paused_until, now + wait_s)
        if started >= self._halved_at:
            self._allowed = max(1.0, self._allowed / 2)
            self._halved_at = now


class Gate:
    """The one door through which all requests of an engine go."""

    def __init__(self, pace: Pace, clock: Callable[[], float] = time.monotonic) -> None:
        self.pace = pace
        self._clock = clock
        self._changed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def turn(self, patience_s: float = float("inf")) -> AsyncIterator[float]:
        """Wait until a request may go; yield the time at which it went.

        Args:
            patience_s: how long a pause that the server asked for is waited out; a turn among others always is.

        Raises:
            RateLimited: the pause is longer.
        """
        now = await self._enter(patience_s)
        self.pace.start(now)
        try:
            yield now
        finally:
            self.pace.end()
            self._wake()

    async def _enter(self, patience_s: float) -> float:
        deadline = self._clock() + patience_s
        while True:
            changed, now = self._changed, self._clock()
            wait_s = self.pace.wait_s(now)
            if wait_s == 0:
                return now
            pause_s = self.pace.pause_s(now)
            if pause_s > 0 and now >= deadline:
                raise RateLimited(
                    f"the server wants to be left alone for {pause_s:.0f} s more, after {patience_s:.0f} s of waiting "
                    "(execution.engine.openai.patience_s)"
                )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait_s, deadline - now) if pause_s and wait_s else wait_s):
                    await changed.wait()

    def answered(self) -> None:
        """Note an answer."""
        self.pace.answered()

    def refused(self, *, started: float, wait_s: float) -> None:
        """Note that the server asked to be called later."""
        self.pace.refused(self._clock(), started=started, wait_s=wait_s)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def back_off_s(
    attempt: int, random_numbers: random.Random, *, first_s: float = 1.0, longest_s: float = 60.0
) -> float:
    """Return how long to wait after a failure, in seconds.

    Full jitter: even between 0 and ``first_s`` doubled at each attempt, up to ``longest_s``
    (aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter).

    Args:
        attempt: the one that failed, from 1.
        random_numbers: where the jitter comes from.
        first_s: the bound after the first attempt.
        longest_s: the bound that is never exceeded.
    """
    bound = min(longest_s, first_s * 2 ** min(attempt - 1, 30))
    return random_numbers.uniform(0, bound)


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return how many seconds a server asks to be left alone; None where it does not say, or not legibly.

    ``Retry-After`` is a number of seconds or a date (RFC 9110, 10.2.3); a date that is over asks for nothing, 0.
    """
    text = headers.get("retry-after", "").strip()
    if text.replace(".", "", 1).isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
