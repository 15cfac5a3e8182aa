"""What recovery costs: tokens and seconds of the draws, and which numbers of draws are worth theirs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from overnight.errors import UndefinedMetricError


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """A row of a table of draws: what one text of one vector took."""

    n_tokens: int  # generated
    seconds: float | None = None  # decoding and encoding; of a batch its share. None where not measured
    is_usable: bool = True  # False where it failed: paid for, and nothing to choose from


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawCosts:
    """Sums over draws; those of shards add up."""

    n_draws: int = 0
    n_usable: int = 0
    n_tokens: int = 0
    n_timed: int = 0
    seconds: float = 0.0  # of the draws that were timed

    def __add__(self, other: "DrawCosts") -> "DrawCosts":
        return DrawCosts(
            n_draws=self.n_draws + other.n_draws,
            n_usable=self.n_usable + other.n_usable,
            n_tokens=self.n_tokens + other.n_tokens,
            n_timed=self.n_timed + other.n_timed,
            seconds=self.seconds + other.seconds,
        )

    @property
    def tokens_per_usable_draw(self) -> float:
        """Tokens that one text to choose from takes, failed ones paid for.

        Raises:
            UndefinedMetricError: no draw succeeded.
        """
        if not self.n_usable:
            raise UndefinedMetricError(f"none of {self.n_draws} draws succeeded, so they have no price")
        return self.n_tokens / self.n_usable

    @property
    def seconds_per_usable_draw(self) -> float | None:
        """Seconds of the device that one text to choose from takes; None where a draw was not timed.

        Those of processes side by side add up: it is not what a clock on the wall shows.
        """
        return self.seconds / self.n_usable if self.n_usable and self.n_timed == self.n_draws else None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontierPoint:
    """One way to spend: a configuration and a number of draws."""

    label: str  # of the temperature, the checkpoint or whatever else tells trials apart
    k: int
    tokens_per_vector: float
    seconds_per_vector: float | None
    recovery: float | None  # higher is better
    recovery_per_1k_tokens: float | None
    gained_per_1k_tokens: (
        float | None
    )  # over the next smaller number of draws of the label; None for the first
    is_efficient_in_tokens: bool = (
        False  # no other point has as much recovery for less, or more for as little
    )
    is_efficient_in_seconds: bool | None = None  # among points that have seconds; None for one without


def costs(draws: Iterable[Draw]) -> DrawCosts:
    """Return the sums over a table of draws, read once.

    Raises:
        ValueError: a number of tokens, or seconds, below 0.
    """
    n_draws = n_usable = n_tokens = n_timed = 0
    seconds = 0.0
    for draw in draws:
        if draw.n_tokens < 0 or (draw.seconds is not None and not draw.seconds >= 0.0):
            raise ValueError(f"{draw}: want no less than 0 tokens and seconds")
        n_draws += 1
        n_usable += draw.is_usable
        n_tokens += draw.n_tokens
        n_timed += draw.seconds is not None
        seconds += draw.seconds or 0.0
    return DrawCosts(n_draws=n_draws, n_usable=n_usable, n_tokens=n_tokens, n_timed=n_timed, seconds=seconds)


def frontier(curves: Mapping[str, tuple[DrawCosts, Mapping[int, float | None]]]) -> list[FrontierPoint]:
    """Return every number of draws of every configuration with its price, and which of them are efficient.

    K draws cost K times what one does: that is the expectation for the kept text of any K of them, not what the sweep
    itself has spent, which drew the largest K once.

    Args:
        curves: by label: what the draws cost, and recovery by number of draws (`Measure.FVE` or another of which
            higher is better); None where it is undefined.

    Raises:
        UndefinedMetricError: a configuration has no draw that succeeded.
    """
    points: list[FrontierPoint] = []
    for label, (spent, by_k) in curves.items():
        tokens, seconds = spent.tokens_per_usable_draw, spent.seconds_per_usable_draw
        before: FrontierPoint | None = None
        for k in sorted(by_k):
            value = by_k[k]
            point = FrontierPoint(
                label=label,
                k=k,
                tokens_per_vector=k * tokens,
                seconds_per_vector=None if seconds is None else k * seconds,
                recovery=value,
                recovery_per_1k_tokens=_per_1k(value, k * tokens),
                gained_per_1k_tokens=None
                if before is None or before.recovery is None or value is None
                else _per_1k(value - before.recovery, (k - before.k) * tokens),
            )
            points.append(point)
            before = point
    return _marked(points)


def _per_1k(value: float | None, tokens: float) -> float | None:
    return None if value is None or not tokens else 1000.0 * value / tokens


def _marked(points: Sequence[FrontierPoint]) -> list[FrontierPoint]:
    by_tokens = {(p.label, p.k): (p.tokens_per_vector, p.recovery) for p in points if p.recovery is not None}
    by_seconds = {
        (p.label, p.k): (p.seconds_per_vector, p.recovery)
        for p in points
        if p.recovery is not None and p.seconds_per_vector is not None
    }
    in_tokens, in_seconds = _efficient(by_tokens), _efficient(by_seconds)
    return [
        replace(
            p,
            is_efficient_in_tokens=(p.label, p.k) in in_tokens,
            is_efficient_in_seconds=(p.label, p.k) in in_seconds if (p.label, p.k) in by_seconds else None,
        )
        for p in points
    ]


def _efficient(values: Mapping[tuple[str, int], tuple[float, float]]) -> set[tuple[str, int]]:
    return {
        key
        for key, (price, value) in values.items()
        if not any(
            other_price <= price and other >= value and (other_price < price or other > value)
            for other_price, other in values.values()
        )
    }
