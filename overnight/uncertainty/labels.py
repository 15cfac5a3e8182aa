"""When an answer counts as right: several rules, each a column of its own, none put in the place of another."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from overnight.errors import UndefinedMetricError
from overnight.records import Score
from overnight.uncertainty.judging import Judgement
from overnight.uncertainty.table import Column, ItemTable, cell_of

F1_THRESHOLD: Final = 0.5
ROUGE_L_THRESHOLD: Final = 0.3
_ROUNDING: Final = 1e-9  # 2PR / (P + R) of .3 and .3 may come out below .3


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredAnswer:
    """The greedy answer of one item, compared with the gold answers and judged."""

    item_key: str
    score: Score  # with ROUGE-L where that label is wanted
    judgement: Judgement | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A rule that calls an answer right or wrong."""

    name: str
    title: str  # as it stands in tables and figures
    version: int  # goes up whenever a label changes
    of: Callable[[ScoredAnswer], bool]
    """Return True for a right answer.

    Raises:
        UndefinedMetricError: the rule does not apply; the message says why.
    """


def is_exact(answer: ScoredAnswer) -> bool:
    """Return whether the answer equals a gold answer under the rule of its dataset.

    Raises:
        UndefinedMetricError: the item has no gold answer.
    """
    return _is_at_least(answer.score.exact_match, 1.0, "exact match")


def has_f1(answer: ScoredAnswer) -> bool:
    """Return whether F1 reaches .5, the label of most published results.

    Raises:
        UndefinedMetricError: the item has no gold answer.

    Source:
        Aichberger et al. (2024), arXiv:2412.15176, where it has to be above .5.
    """
    return _is_at_least(answer.score.f1, F1_THRESHOLD, "F1")


def has_rouge_l(answer: ScoredAnswer) -> bool:
    """Return whether ROUGE-L, without stemming, reaches .3.

    Raises:
        UndefinedMetricError: the item has no gold answer, or ROUGE-L was not asked for.

    Source:
        Kuhn, Gal, Farquhar (2023), ICLR, arXiv:2302.09664, where it has to be above .3.
    """
    return _is_at_least(answer.score.rouge_l, ROUGE_L_THRESHOLD, "ROUGE-L")


def is_judged_right(answer: ScoredAnswer) -> bool:
    """Return whether the judge finds yes likelier than no.

    Raises:
        UndefinedMetricError: there was no judge, it said neither, or its reply never came.
    """
    if answer.judgement is None:
        raise UndefinedMetricError("no judge was asked")
    return answer.judgement.says_yes()


LABELS: Final[dict[str, Label]] = {
    label.name: label
    for label in (
        Label(name="em", title="exact match", version=1, of=is_exact),
        Label(name="f1", title="F1 >= 0.5", version=1, of=has_f1),
        Label(name="rouge_l", title="ROUGE-L >= 0.3", version=1, of=has_rouge_l),
        Label(name="judge", title="judge", version=1, of=is_judged_right),
    )
}


def label_items(answers: Iterable[ScoredAnswer], labels: Sequence[Label]) -> ItemTable:
    """Return every label of every item: 1 where the answer is right, 0 where it is wrong.

    Raises:
        ValueError: an item or a label occurs twice, or several judges share a column.
    """
    rows = list(answers)
    judges = {row.judgement.judge for row in rows if row.judgement is not None}
    if len(judges) > 1:
        raise ValueError(f"{len(judges)} judges in one column: {', '.join(sorted(judges))}")
    return ItemTable(
        item_keys=tuple(row.item_key for row in rows),
        columns=tuple(
            Column(
                name=label.name,
                version=label.version,
                cells=tuple(cell_of(partial(_as_number, label), row) for row in rows),
                source=next(iter(judges), None) if label.of is is_judged_right else None,
            )
            for label in labels
        ),
    )


def _as_number(label: Label, answer: ScoredAnswer) -> float:
    return float(label.of(answer))


def _is_at_least(value: float | None, threshold: float, name: str) -> bool:
    if value is None:
        raise UndefinedMetricError(f"{name} is not defined for this item, or was not computed")
    return value >= threshold - _ROUNDING
