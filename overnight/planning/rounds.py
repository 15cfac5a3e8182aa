"""The order of work against a deadline: whatever the hour, every trial has paired results on the same items."""

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from itertools import groupby

from overnight.planning.parts import Part

ITEMS_PER_ROUND = (
    32  # of a dataset, where the config does not slice; what a deadline cuts off is one such slice
)
_LONGEST_RESERVE_S = 60.0
_RESERVED_SHARE = 0.1


def next_time(clock: str, now: datetime) -> datetime:
    """Return the next moment at which a clock in the time zone of ``now`` shows ``HH:MM``, at most a day away."""
    wanted = time.fromisoformat(clock)
    today = datetime.combine(now.date(), wanted, now.tzinfo)
    return today if today > now else datetime.combine(now.date() + timedelta(days=1), wanted, now.tzinfo)


def last_call(deadline: datetime, now: datetime) -> datetime:
    """Return when to stop asking, so that what is under way, the tables and the report are done by the deadline.

    A minute before it, or a tenth of the time there is where that is less.
    """
    there_is = (deadline - now).total_seconds()
    return deadline - timedelta(seconds=max(0.0, min(_LONGEST_RESERVE_S, _RESERVED_SHARE * there_is)))


def interleaved(parts: Sequence[Part]) -> list[Part]:
    """Return the parts so that every dataset is always asked to about the same share.

    Args:
        parts: dataset by dataset, as the plan has them.
    """
    placed: list[tuple[float, int, Part]] = []
    by_dataset = groupby(parts, key=lambda part: part.items[0].dataset)
    for place, (_, group) in enumerate(by_dataset):
        members = list(group)
        placed += [((n + 0.5) / len(members), place, part) for n, part in enumerate(members)]
    return [part for _, _, part in sorted(placed, key=lambda entry: entry[:2])]


def share_of_time(n_open: Sequence[int], seconds: float) -> float:
    """Return the seconds of the first of several model blocks, by the draws that each has left to ask.

    Each gets its share of what is left when its turn comes, so that a quick one leaves time to those after it.
    """
    whole = sum(n_open)
    return seconds * n_open[0] / whole if whole else 0.0
