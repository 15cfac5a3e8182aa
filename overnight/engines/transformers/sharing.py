"""Which prompts of a batch are evaluated together: those that begin alike, and of these those of about one length.

What prompts have in common is evaluated once for all of them, and what is padded is computed for nothing. The prompts
of a sweep have few beginnings (a system prompt and an instruction each), so that a batch of both arms is cheap as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

SHORTEST_PREFIX = 16  # tokens; fewer are evaluated faster than they are looked after
FORWARD_TOKENS = 64  # what another pass through the model costs, in tokens: the weights are read once more
_FEWEST_TOKENS = 256  # of a pass; fewer take hardly less time
_MOST_PADDING = 0.15  # of a pass, where it has as many
MOST_TOKENS = 8192  # of a pass; more are no faster, and take memory while they are computed

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """Prompts that begin alike."""

    places: tuple[int, ...]  # in the batch
    n_shared: int  # tokens that all of them begin with; at least one of each is left out, and 0 is none


def families(prompts: Sequence[Ids]) -> list[Family]:
    """Return the prompts by what they begin with, so that the fewest tokens are evaluated in all.

    In the order of the dictionary, prompts that begin alike stand next to each other, and what a stretch of them has in
    common is the least that two neighbours have. A stretch is one family, or is cut there and each part is looked at by
    itself, whichever is less.
    """
    order = sorted(range(len(prompts)), key=prompts.__getitem__)
    in_common = [common_length(prompts[one], prompts[other]) for one, other in pairwise(order)]

    def cheapest(first: int, last: int) -> tuple[int, list[Family]]:
        places = order[first : last + 1]
        shortest = min(len(prompts[place]) for place in places) - 1
        least = min(in_common[first:last], default=shortest)
        n_shared = min(least, shortest)
        if n_shared < SHORTEST_PREFIX:
            n_shared = 0
        together = FORWARD_TOKENS + n_shared + sum(len(prompts[place]) - n_shared for place in places)
        whole = together, [Family(tuple(sorted(places)), n_shared)]
        if len(places) == 1:
            return whole
        ends = [place for place in range(first, last) if in_common[place] == least] + [last]
        starts = [first, *(end + 1 for end in ends[:-1])]
        parts = [cheapest(*part) for part in zip(starts, ends, strict=True)]
        apart = sum(cost for cost, _ in parts)
        return (apart, [family for _, part in parts for family in part]) if apart < together else whole

    return cheapest(0, len(prompts) - 1)[1] if prompts else []


def of_one_length(places: Sequence[int], lengths: Sequence[int]) -> list[list[int]]:
    """Return the places in passes with little padding, each of them large enough to be worth it, and none too large.

    Args:
        places: of the prompts.
        lengths: tokens of each of them that are left to evaluate.
    """
    passes: list[list[int]] = []
    real = 0  # tokens of the last pass
    for length, place in sorted(zip(lengths, places, strict=True)):
        padded = length * (len(passes[-1]) + 1 if passes else 1)
        is_wasteful = real >= _FEWEST_TOKENS and padded - real - length > _MOST_PADDING * padded
        if not passes or is_wasteful or padded > MOST_TOKENS:
            passes.append([])
            real = 0
        passes[-1].append(place)
        real += length
    return passes


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many tokens two sequences begin with together."""
    for place, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return place
    return min(len(first), len(second))
