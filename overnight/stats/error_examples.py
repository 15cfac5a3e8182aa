"""Which items to read: the errors that a measure missed, and the right answers that it doubted."""

from dataclasses import dataclass

from overnight.stats.scored_items import ScoredItems


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One item to look at."""

    key: str
    uncertainty: float
    certainty_rank: int  # 1 for the most certain of all answers, right or wrong; ties share the smallest


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorExamples:
    """Both kinds, the most surprising first; equal scores by key, so a table is the same every time."""

    most_certain_wrong: tuple[Example, ...]
    least_certain_right: tuple[Example, ...]


def error_examples(items: ScoredItems, *, n_each: int = 10) -> ErrorExamples:
    """Return up to ``n_each`` items of each kind.

    Raises:
        ValueError: ``n_each`` is below 1.
    """
    if n_each < 1:
        raise ValueError(f"n_each is {n_each}; it must be at least 1")
    scores = items.uncertainty.tolist()
    rank: dict[float, int] = {}
    for place, score in enumerate(sorted(scores), start=1):
        rank.setdefault(score, place)
    wrong: list[Example] = []
    right: list[Example] = []
    for key, score, is_wrong in zip(items.keys, scores, items.is_wrong.tolist(), strict=True):
        example = Example(key=key, uncertainty=score, certainty_rank=rank[score])
        (wrong if is_wrong else right).append(example)
    wrong.sort(key=lambda example: (example.uncertainty, example.key))
    right.sort(key=lambda example: (-example.uncertainty, example.key))
    return ErrorExamples(most_certain_wrong=tuple(wrong[:n_each]), least_certain_right=tuple(right[:n_each]))
