"""Which of the waiting requests are computed together.

A batch is padded to its longest prompt and runs until its longest answer may end, so what it costs is its number of
rows times that length. The budget is of such tokens; a fixed number of rows would be too many for long prompts and
too few for short ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_MOST_PADDING = 0.5  # of the real tokens of the prompts; more is computed for nothing


@dataclass(frozen=True, slots=True)
class Size:
    """How long a request is, in tokens."""

    prompt: int
    answer: int  # at most

    @property
    def total(self) -> int:
        """Tokens that a row of its own takes."""
        return self.prompt + self.answer


def choose_batch(waiting: Sequence[Size], budget: int, most_rows: int | None = None) -> list[int]:
    """Return the places of the requests to compute next, by the length of their prompts.

    Of all sets of neighbours by length that hold the request that waits longest, fit into the budget and have no more
    padding than half of their tokens, it is the one with the most rows, and of these the one with the least padding.
    The request that waits longest is always taken, alone even where it is larger than the budget: only trying shows
    whether it fits.

    Args:
        waiting: in the order of their arrival.
        budget: most tokens: rows times (longest prompt + longest answer).
        most_rows: None for as many as fit.
    """
    if not waiting:
        return []
    order = sorted(range(len(waiting)), key=lambda place: (waiting[place].prompt, place))
    oldest = order.index(0)
    best, best_merit = [0], (1, 0)
    for first in range(oldest + 1):
        longest_prompt = longest_answer = real = 0
        for last, place in enumerate(order[first:], start=first):
            size = waiting[place]
            longest_prompt = max(longest_prompt, size.prompt)
            longest_answer = max(longest_answer, size.answer)
            real += size.prompt
            n_rows = last - first + 1
            if n_rows * (longest_prompt + longest_answer) > budget or n_rows > (most_rows or n_rows):
                break
            padding = n_rows * longest_prompt - real
            merit = (n_rows, -padding)
            if last >= oldest and padding <= _MOST_PADDING * real and merit > best_merit:
                best, best_merit = order[first : last + 1], merit
    return best


def padded_tokens(sizes: Sequence[Size]) -> int:
    """Return what a batch costs: its rows times its longest prompt and its longest answer."""
    return len(sizes) * (max(size.prompt for size in sizes) + max(size.answer for size in sizes))


def halves(batch: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the two halves of a batch that did not fit, the first one no smaller than the second."""
    middle = (len(batch) + 1) // 2
    return list(batch[:middle]), list(batch[middle:])
