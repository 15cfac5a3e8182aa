"""The figures that the official SQuAD 2.0 evaluator prints.

Two notions are kept apart. There, the right reply to an unanswerable question is the empty string. Our own
scores ask for an abstention and take silence for a failure (see `overnight.scoring.score`). For the official
figures a reply that abstains is handed in as the empty string, and one that is empty stays what it is.
"""

from collections.abc import Iterable, Mapping

from overnight.errors import UndefinedMetricError
from overnight.records import AnswerRule, Item, ItemType
from overnight.scoring.correctness import exact_match, token_f1

Figures = dict[str, float | int]


def is_squad_like(item: Item) -> bool:
    """Return whether the evaluator can score an item: a question about a passage, under the SQuAD rule."""
    return item.type is ItemType.OPEN and item.rule is AnswerRule.SQUAD


def squad_scores(item: Item, text: str, *, is_abstention: bool) -> tuple[float, float]:
    """Return exact match and F1 of one reply as the official evaluator counts them, each in [0, 1]."""
    submitted = "" if is_abstention else text
    return exact_match(submitted, item.answers), token_f1(submitted, item.answers)


class SquadTally:
    """Sums over items, from which the official figures follow; it does not grow with them."""

    def __init__(self) -> None:
        self._sums = {has_answer: [0.0, 0.0, 0] for has_answer in (True, False)}

    def add(self, *, has_answer: bool, exact: float, f1: float) -> None:
        """Count one item; with several draws, ``exact`` and ``f1`` are its means over them."""
        sums = self._sums[has_answer]
        sums[0] += exact
        sums[1] += f1
        sums[2] += 1

    @property
    def n_unanswerable(self) -> int:
        """Items without an answer so far."""
        return int(self._sums[False][2])

    def figures(self) -> Figures:
        """Return ``exact``, ``f1`` and ``total``, and each with ``HasAns_`` and ``NoAns_``; scores in per cent.

        As with the official evaluator, a split without items has no keys.

        Raises:
            UndefinedMetricError: nothing was counted.
        """
        if not any(sums[2] for sums in self._sums.values()):
            raise UndefinedMetricError("no items; the SQuAD figures are means over items")
        both = [sum(parts) for parts in zip(*self._sums.values(), strict=True)]
        result: Figures = {}
        for prefix, (exact, f1, total) in (
            ("", both),
            ("HasAns_", self._sums[True]),
            ("NoAns_", self._sums[False]),
        ):
            if total:
                result |= {
                    f"{prefix}exact": 100.0 * exact / total,
                    f"{prefix}f1": 100.0 * f1 / total,
                    f"{prefix}total": int(total),
                }
        return result


def squad_figures(predictions: Mapping[str, str], items: Iterable[Item]) -> Figures:
    """Return the official figures of some predictions, in per cent.

    Args:
        predictions: by item id; the empty string says that the passage has no answer.
        items: those to score. One without a prediction is left out, as the official evaluator does.

    Raises:
        UndefinedMetricError: no item has a prediction.

    Source:
        ``get_raw_scores``, ``make_eval_dict`` and ``merge_eval`` of the official SQuAD 2.0 evaluator, without a
        threshold on the probability of no answer.
    """
    tally = SquadTally()
    for item in items:
        if item.item_id in predictions:
            exact, f1 = squad_scores(item, predictions[item.item_id], is_abstention=False)
            tally.add(has_answer=not item.is_unanswerable, exact=exact, f1=f1)
    return tally.figures()
