"""The race: how fast each candidate was, which of them can still be the fastest, and which one is chosen; pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from overnight.memory.processes import MeasuredPeak
from overnight.tuning.candidates import Candidate

TRUNCATED_TOO_OFTEN = 0.10
_CONFIDENCE = 0.95
_FEWEST_STRETCHES = 3  # fewer say nothing about their spread
_TIE = 0.03  # of the fastest: settings closer than this take the less memory
_FINALISTS = 3
_SECONDS_PER_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Speed:
    """Stretches of about equally many answers, one after another: (answers, seconds) of each."""

    stretches: tuple[tuple[int, float], ...]

    @property
    def n_answers(self) -> int:
        """Answers in all."""
        return sum(n for n, _ in self.stretches)

    @property
    def per_minute(self) -> float:
        """Answers a minute."""
        return _SECONDS_PER_MINUTE * self.n_answers / sum(seconds for _, seconds in self.stretches)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the answers a minute; None with fewer than three stretches.

        Of Student's t over the seconds that an answer took in each stretch, read as a rate. The upper bound is left at
        the fastest stretch where the interval of the seconds goes below any that was seen.
        """
        if len(self.stretches) < _FEWEST_STRETCHES:
            return None
        from scipy import stats  # noqa: PLC0415 - a table of settings needs none

        each = [seconds / n for n, seconds in self.stretches]
        mean = sum(each) / len(each)
        spread = stats.sem(each)
        if not spread:
            return self.per_minute, self.per_minute
        low, high = stats.t.interval(_CONFIDENCE, len(each) - 1, loc=mean, scale=spread)
        return _SECONDS_PER_MINUTE / high, _SECONDS_PER_MINUTE / (low if low > 0 else min(each))

    def joined(self, other: "Speed | None") -> "Speed":
        """Return the speed over the stretches of both."""
        return self if other is None else Speed((*other.stretches, *self.stretches))


class Status(StrEnum):
    """What became of a candidate."""

    MEASURED = "measured"
    TOO_LARGE = "does not fit"
    FAILED = "failed"
    NOT_REACHED = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A candidate and what was seen of it."""

    candidate: Candidate
    status: Status
    why: str | None = None  # where it was not measured
    needed_bytes: int | None = None  # as computed
    speed: Speed | None = None
    n_truncated: int = 0
    peak: MeasuredPeak | None = None
    load_s: float | None = None

    @property
    def truncated_share(self) -> float | None:
        """The share of answers that were cut off at their limit of tokens; None without any."""
        return None if self.speed is None else self.n_truncated / self.speed.n_answers

    @property
    def peak_bytes(self) -> int | None:
        """The most that the process held, on host and devices; None where nobody tells."""
        if self.peak is None or self.peak.host_bytes is None:
            return None
        return self.peak.host_bytes + (self.peak.device_bytes or 0)

    def joined(self, other: "Outcome") -> "Outcome":
        """Return both measurements of one candidate as one; a failure in either is a failure."""
        if self.speed is None or other.speed is None:
            return self if self.speed is None and self.status is not Status.NOT_REACHED else other
        larger = max((self, other), key=lambda one: one.peak_bytes or 0)
        return replace(
            self,
            speed=self.speed.joined(other.speed),
            n_truncated=self.n_truncated + other.n_truncated,
            peak=larger.peak,
        )


def stretches(arrivals: Sequence[tuple[float, int]], n_stretches: int = 6) -> Speed | None:
    """Return how fast answers came, in stretches of about equally many; None without any.

    Answers that come in one batch are never cut apart, so that there may be fewer stretches.

    Args:
        arrivals: (seconds since the beginning, answers that came then), in order.
        n_stretches: at most.
    """
    total = sum(n for _, n in arrivals)
    found: list[tuple[int, float]] = []
    n_before, began, n_so_far = 0, 0.0, 0
    for at, n in arrivals:
        n_so_far += n
        is_full = n_so_far * n_stretches >= total * (len(found) + 1)
        if is_full and n_so_far > n_before and at > began:
            found.append((n_so_far - n_before, at - began))
            n_before, began = n_so_far, at
    return Speed(tuple(found)) if found else None


def eligible(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes that may be chosen: measured, giving nothing up, and not cut off more often than need be.

    A tenth of the answers may be cut off at their limit; where all settings cut off more, the limit does it, and no
    setting: then the fewest.
    """
    found = [one for one in outcomes if one.speed is not None and one.candidate.gives_up is None]
    shares = [one.truncated_share or 0.0 for one in found]
    most = max(TRUNCATED_TOO_OFTEN, min(shares, default=0.0) + TRUNCATED_TOO_OFTEN)
    return [one for one, share in zip(found, shares, strict=True) if share <= most]


def fastest(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Return the outcome that is chosen; None where none may be.

    The most answers a minute; of those within 3 % of it the one that held the least memory, then the one that was
    measured first.
    """
    found = eligible(outcomes)
    if not found:
        return None
    best = max(_rate(one) for one in found)
    near = [one for one in found if _rate(one) >= best * (1 - _TIE)]
    return min(near, key=lambda one: (one.peak_bytes is None, one.peak_bytes or 0))


def finalists(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes that are worth measuring again: up to three that cannot be told from the fastest."""
    found = sorted(eligible(outcomes), key=_rate, reverse=True)
    if not found:
        return []
    low = _bounds(found[0])[0]
    open_ones = [one for one in found if one is found[0] or _bounds(one)[1] >= low]
    return open_ones[:_FINALISTS] if len(open_ones) > 1 else []


def _rate(outcome: Outcome) -> float:
    return 0.0 if outcome.speed is None else outcome.speed.per_minute


def _bounds(outcome: Outcome) -> tuple[float, float]:
    """Return the interval of a rate; everything, where there is none."""
    interval = outcome.speed.interval if outcome.speed else None
    return (0.0, float("inf")) if interval is None else interval
