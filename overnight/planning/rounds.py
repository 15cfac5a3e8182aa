"""The order of work against a deadline: whatever the hour, every trial has paired results on the same items."""

import math
from collections.abc import Sequence
from datetime import datetime, time, timedelta

from overnight.planning.parts import Part
from overnight.records import Item

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


def interleaved(parts: Sequence[Part]) -> list[tuple[str, Item]]:
    """Return every item with its part's name, so that all datasets are always asked to about the same share.

    Args:
        parts: dataset by dataset, as the plan has them.
    """
    datasets: dict[str, list[tuple[str, Item]]] = {}
    for part in parts:
        for item in part.items:
            datasets.setdefault(item.dataset, []).append((part.name, item))
    placed = [
        ((n + 0.5) / len(members), place, member)
        for place, members in enumerate(datasets.values())
        for n, member in enumerate(members)
    ]
    return [member for _, _, member in sorted(placed, key=lambda entry: entry[:2])]


def slices(items: Sequence[tuple[str, Item]]) -> list[Part]:
    """Return some items as slices of their parts."""
    by_part: dict[str, list[Item]] = {}
    for part, item in items:
        by_part.setdefault(part, []).append(item)
    return [Part(name, tuple(members)) for name, members in by_part.items()]


def next_turn(n_items: int, took_s: float, wanted_s: float) -> int:
    """Return how many items the next turn of a trial has, after one of ``n_items`` took ``took_s`` seconds.

    As many as fill the time that a turn is to take; at most four times as many as before, and at least one.
    """
    fitting = n_items * wanted_s / took_s if took_s > 0 else math.inf
    return max(1, int(min(4 * n_items, fitting)))


def share_of_time(n_open: Sequence[int], seconds: float) -> float:
    """Return the seconds of the first of several model blocks, by the draws that each has left to ask.

    Each gets its share of what is left when its turn comes, so that a quick one leaves time to those after it.
    """
    whole = sum(n_open)
    return seconds * n_open[0] / whole if whole else 0.0
