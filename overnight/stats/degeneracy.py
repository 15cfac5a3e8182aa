"""Results that would be numbers and mean nothing: each has a name and a sentence, and no number."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from overnight.errors import UndefinedMetricError
from overnight.stats.scored_items import ScoredItems


class Degeneracy(StrEnum):
    """Why a measure cannot be judged on these items."""

    NO_ITEMS = "no_items"
    MISSING_SCORES = "missing_scores"
    ONE_CLASS = "one_class"
    FEW_OF_A_CLASS = "few_of_a_class"
    CONSTANT_SCORE = "constant_score"
    TIED_SCORES = "tied_scores"


_FEWEST = 2  # of a class, for a standard error


@dataclass(frozen=True, slots=True, kw_only=True)
class Degenerate:
    """One finding, for a table and for a reader."""

    kind: Degeneracy
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How little is too little."""

    fewest_of_a_class: int = 5  # right answers, and wrong ones
    largest_missing_share: float = 0.1  # of the items with a label: those left may be a choice of easy ones
    largest_tie_share: float = 0.5  # of the pairs of a wrong and a right answer

    def __post_init__(self) -> None:
        shares = (self.largest_missing_share, self.largest_tie_share)
        if self.fewest_of_a_class < _FEWEST or not all(0.0 <= share <= 1.0 for share in shares):
            raise ValueError(f"{self}: want at least {_FEWEST} of a class, and shares within [0, 1]")


DEFAULT_LIMITS = Limits()


def degeneracy(items: ScoredItems, limits: Limits = DEFAULT_LIMITS) -> Degenerate | None:
    """Return the first thing that forbids to judge the measure on these items, None where nothing does."""
    if found := _too_few_items(items, limits):
        return found
    kind = None
    if items.uncertainty[0] == items.uncertainty.max() == items.uncertainty.min():
        kind = Degeneracy.CONSTANT_SCORE
        sentence = f"all {items.n_items} items have one score, {items.uncertainty[0]:g}, which ranks nothing"
    elif items.tie_share is not None and items.tie_share > limits.largest_tie_share:
        kind = Degeneracy.TIED_SCORES
        sentence = (
            f"{items.tie_share:.0%} of the pairs of a wrong and a right answer have the same score; "
            f"at most {limits.largest_tie_share:.0%} may"
        )
    return None if kind is None else Degenerate(kind=kind, sentence=sentence)


def require_sound(items: ScoredItems, limits: Limits = DEFAULT_LIMITS) -> None:
    """Check that the measure can be judged on these items.

    Raises:
        UndefinedMetricError: it cannot; the message is the sentence of `degeneracy`.
    """
    if found := degeneracy(items, limits):
        raise UndefinedMetricError(found.sentence)


def _too_few_items(items: ScoredItems, limits: Limits) -> Degenerate | None:
    n_labelled = items.n_items + items.n_without_score
    classes = f"{items.n_right} right and {items.n_wrong} wrong answers"
    if n_labelled == 0:
        return Degenerate(kind=Degeneracy.NO_ITEMS, sentence="no item has a label of right or wrong")
    if items.n_items == 0 or items.n_without_score > limits.largest_missing_share * n_labelled:
        return Degenerate(
            kind=Degeneracy.MISSING_SCORES,
            sentence=f"{items.n_without_score} of {n_labelled} items have no score; "
            f"at most {limits.largest_missing_share:.0%} may",
        )
    if items.n_wrong == 0 or items.n_right == 0:
        return Degenerate(
            kind=Degeneracy.ONE_CLASS,
            sentence=f"{classes}: without both there is nothing to tell apart",
        )
    if min(items.n_wrong, items.n_right) < limits.fewest_of_a_class:
        return Degenerate(
            kind=Degeneracy.FEW_OF_A_CLASS,
            sentence=f"{classes}; it takes at least {limits.fewest_of_a_class} of each",
        )
    if items.clusters is not None:
        for n, name, are_of_it in (
            (items.n_wrong, "wrong", items.is_wrong),
            (items.n_right, "right", ~items.is_wrong),
        ):
            if len(np.unique(items.clusters[are_of_it])) < _FEWEST:
                return Degenerate(
                    kind=Degeneracy.FEW_OF_A_CLASS,
                    sentence=f"{classes}; the {n} {name} ones are all about one passage, and it takes two",
                )
    return None
