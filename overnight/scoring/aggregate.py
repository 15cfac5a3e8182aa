"""From the draws of one item and arm to one row of ``per_item_scores.csv``."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from overnight.ids import text_digest
from overnight.records import Condition, FinishReason, Item, ItemType, Prediction, Score


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemScores:
    """One item in one arm, over its draws.

    A mean is taken over the draws where its metric is defined, and is None where it is defined for none. A
    ``_std`` is the sample standard deviation (ddof 1) of the same draws, None with fewer than two of them.
    """

    dataset: str
    item_key: str
    type: ItemType
    condition: Condition
    temp: float
    n_samples: int  # draws, whether or not any metric is defined for them
    em: float | None
    em_std: float | None
    f1: float | None
    f1_std: float | None
    abstain_rate: float | None
    abstain_rate_std: float | None
    false_answer_rate: float | None
    false_answer_rate_std: float | None
    unsupported_rate: float | None
    unsupported_rate_std: float | None
    empty_rate: float | None
    truncated_rate: float | None  # of the draws of which it is known why they ended
    rouge_l: float | None
    rouge_l_std: float | None
    rouge_accuracy: float | None
    confidence: float | None  # in [0, 1]: mean over draws of exp(mean log-probability of a token)
    cluster: str  # items of one cluster are not independent: those on one passage; a closed item is its own
    answerable: bool | None  # None for a closed item without golds: nobody knows
    squad_exact: float | None  # as the official SQuAD 2.0 evaluator counts
    squad_f1: float | None


def aggregate(draws: Sequence[tuple[Prediction, Score]]) -> ItemScores:
    """Return the means and standard deviations over the draws of one item and arm, in whatever order.

    Raises:
        ValueError: there is no draw, a draw is there twice, or the draws are of several items or arms.
    """
    if not draws:
        raise ValueError("no draws to aggregate; an item without a prediction has no row")
    predictions = [prediction for prediction, _ in draws]
    first = predictions[0]
    if any((p.item.key, p.arm) != (first.item.key, first.arm) for p in predictions):
        cells = sorted({f"{p.item.key} {p.arm.condition} {p.arm.temperature}" for p in predictions})
        raise ValueError(f"draws of several items or arms: {cells}; aggregate them one by one")
    if len({p.sample_index for p in predictions}) < len(predictions):
        raise ValueError(
            f"item {first.item.key} has a draw twice: {sorted(p.sample_index for p in predictions)}"
        )

    scores = [score for _, score in draws]
    item = first.item
    em, em_std = _mean_and_std(s.exact_match for s in scores)
    f1, f1_std = _mean_and_std(s.f1 for s in scores)
    abstain_rate, abstain_rate_std = _mean_and_std(float(s.is_abstention) for s in scores)
    false_answer_rate, false_answer_rate_std = _mean_and_std(s.false_answer for s in scores)
    unsupported_rate, unsupported_rate_std = _mean_and_std(s.unsupported for s in scores)
    rouge_l, rouge_l_std = _mean_and_std(s.rouge_l for s in scores)
    return ItemScores(
        dataset=item.dataset,
        item_key=item.key,
        type=item.type,
        condition=first.arm.condition,
        temp=first.arm.temperature,
        n_samples=len(draws),
        em=em,
        em_std=em_std,
        f1=f1,
        f1_std=f1_std,
        abstain_rate=abstain_rate,
        abstain_rate_std=abstain_rate_std,
        false_answer_rate=false_answer_rate,
        false_answer_rate_std=false_answer_rate_std,
        unsupported_rate=unsupported_rate,
        unsupported_rate_std=unsupported_rate_std,
        empty_rate=_mean(float(s.is_empty) for s in scores),
        truncated_rate=_mean(_is_truncated(p.finish_reason) for p in predictions),
        rouge_l=rouge_l,
        rouge_l_std=rouge_l_std,
        rouge_accuracy=_mean(s.rouge_accuracy for s in scores),
        confidence=_mean(None if p.mean_logprob is None else math.exp(p.mean_logprob) for p in predictions),
        cluster=cluster_of(item),
        answerable=None
        if item.is_unanswerable and item.type is ItemType.CLOSED
        else not item.is_unanswerable,
        squad_exact=_mean(s.squad_exact for s in scores),
        squad_f1=_mean(s.squad_f1 for s in scores),
    )


def cluster_of(item: Item) -> str:
    """Return the name of an item's cluster: 16 hex digits of its passage's sha256, or a closed item's key."""
    if item.type is ItemType.CLOSED or item.context is None:
        return item.key
    return text_digest(item.context)[:16]


def _is_truncated(reason: FinishReason | None) -> float | None:
    return None if reason is None else float(reason is FinishReason.LENGTH)


def _mean(values: Iterable[float | None]) -> float | None:
    return _mean_and_std(values)[0]


def _mean_and_std(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    defined = [value for value in values if value is not None]
    if not defined:
        return None, None
    mean = math.fsum(defined) / len(defined)
    if len(defined) == 1:
        return mean, None
    # Draws mostly agree; the exact fractions of `stdev` are for those that do not.
    return mean, 0.0 if min(defined) == max(defined) else statistics.stdev(defined)
