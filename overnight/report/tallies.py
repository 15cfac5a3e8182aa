"""One pass over the tables of a trial: sums of the arms, and a few items to look at.

Tables are streamed; what is kept does not grow with the number of items.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, groupby

from overnight.errors import StoreError
from overnight.ids import item_key, text_digest
from overnight.records import Condition, FinishReason, ItemType
from overnight.report.results import ArmSummary, DatasetScore, Example, Excerpt, Outcome, Reply
from overnight.runs.tables import read_predictions, read_scores
from overnight.stats.mcnemar import RIGHT_FROM
from overnight.store.run_folder import TrialFolder

EXCERPT_CHARS = 2000
DATASET_METRICS = ("em", "f1", "abstain_rate", "false_answer_rate", "unsupported_rate")

# Three quarters of the examples are items on which the arms differ, while there are any.
_ORDER_OF_CHOICE = (
    *(Outcome.GAINED, Outcome.LOST) * 3,
    Outcome.BOTH_WRONG,
    Outcome.BOTH_RIGHT,
)
_Row = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """What ``predictions.csv`` says, with the scores of its items where there are any."""

    arms: tuple[ArmSummary, ...]
    examples: tuple[Example, ...]  # without their questions
    n_by_outcome: Mapping[Outcome, int]  # over items and temperatures


def excerpt(text: str) -> Excerpt:
    """Return the beginning of a text."""
    return Excerpt(text=text[:EXCERPT_CHARS], n_chars=len(text))


def score_datasets(folder: TrialFolder) -> tuple[DatasetScore, ...]:
    """Return the means by dataset, temperature and arm.

    Raises:
        StoreError: the trial has no scores.
    """
    n_items: Counter[tuple[str, str, float, str]] = Counter()
    sums: dict[tuple[tuple[str, str, float, str], str], list[float]] = defaultdict(lambda: [0.0, 0])
    for row in read_scores(folder.scores):
        key = row["dataset"], row["type"], float(row["temp"]), row["condition"]
        n_items[key] += 1
        for metric in DATASET_METRICS:
            if row[metric]:
                total = sums[key, metric]
                total[0] += float(row[metric])
                total[1] += 1

    def mean(key: tuple[str, str, float, str], metric: str) -> float | None:
        total, n = sums.get((key, metric), (0.0, 0))
        return total / n if n else None

    return tuple(
        DatasetScore(
            dataset=key[0],
            type=ItemType(key[1]),
            temperature=key[2],
            condition=Condition(key[3]),
            n_items=n,
            means={metric: mean(key, metric) for metric in DATASET_METRICS},
        )
        for key, n in sorted(n_items.items())
    )


def tally_draws(folder: TrialFolder, *, n_examples: int) -> Draws:
    """Return the sums of the arms and at most ``n_examples`` examples, in the order of the tables.

    Which items become examples depends on their names, so that trials show the same items where they can.

    Raises:
        StoreError: ``predictions.csv`` is missing, or the tables are not of the same items in the same order.
    """
    arms: Counter[tuple[str, str, str]] = Counter()
    kept: dict[Outcome, list[_Candidate]] = defaultdict(list)
    n_by_outcome: Counter[Outcome] = Counter()
    position = 0
    for key, predictions, scores in _by_item(folder):
        for row in predictions:
            arm = row["condition"], row["type"]
            arms[*arm, "draws"] += 1
            arms[*arm, row["finish_reason"]] += 1
            if row["finish_reason"] != FinishReason.ERROR and not row["response_text"].strip():
                arms[*arm, "empty"] += 1
        for example in _examples(key, predictions, scores):
            n_by_outcome[example.outcome] += 1
            position += 1
            candidates = kept[example.outcome]
            candidates.append(_Candidate.of(example, position))
            if len(candidates) >= 2 * max(n_examples, 1):
                candidates[:] = sorted(candidates, key=_Candidate.rank)[:n_examples]
    summaries = tuple(
        ArmSummary(
            condition=Condition(condition),
            type=ItemType(kind),
            n_draws=arms[condition, kind, "draws"],
            n_truncated=arms[condition, kind, FinishReason.LENGTH.value],
            n_errors=arms[condition, kind, FinishReason.ERROR.value],
            n_empty=arms[condition, kind, "empty"],
        )
        for condition, kind in sorted({(condition, kind) for condition, kind, _ in arms})
    )
    return Draws(arms=summaries, examples=_chosen(kept, n_examples), n_by_outcome=dict(n_by_outcome))


@dataclass(frozen=True, slots=True)
class _Candidate:
    example: Example
    position: int
    digest: str

    @classmethod
    def of(cls, example: Example, position: int) -> "_Candidate":
        return cls(example, position, text_digest(f"{example.item_key}|{example.temperature}"))

    def rank(self) -> tuple[bool, str]:
        return not self.example.replies_differ, self.digest


def _chosen(kept: Mapping[Outcome, Sequence[_Candidate]], n: int) -> tuple[Example, ...]:
    queues = {outcome: iter(sorted(rows, key=_Candidate.rank)) for outcome, rows in kept.items()}
    unscored = list(queues.pop(Outcome.UNSCORED, ()))
    chosen: list[_Candidate] = []
    for outcome in cycle(_ORDER_OF_CHOICE):
        if not queues or len(chosen) >= n:
            break
        if outcome in queues:
            if (candidate := next(queues[outcome], None)) is None:
                del queues[outcome]
            else:
                chosen.append(candidate)
    chosen += unscored[: max(0, n - len(chosen))]
    return tuple(candidate.example for candidate in sorted(chosen, key=lambda c: c.position))


def _by_item(folder: TrialFolder) -> Iterator[tuple[str, list[_Row], list[_Row]]]:
    """Yield the draws and the scores of one item after the other; both tables have the order of the plan."""
    rows = read_scores(folder.scores) if folder.scores.is_file() else iter(())
    scores = groupby(rows, key=lambda row: row["item_key"])
    ahead = next(scores, None)
    predictions = read_predictions(folder.predictions)
    for key, draws in groupby(predictions, key=lambda row: item_key(row["dataset"], row["item_id"])):
        own: list[_Row] = []
        if ahead is not None and ahead[0] == key:
            own = list(ahead[1])
            ahead = next(scores, None)
        yield key, list(draws), own
    if ahead is not None:
        raise StoreError(
            f"{folder.scores}: item {ahead[0]} is not where {folder.predictions.name} "
            "has it; score the trial again"
        )


def _examples(key: str, predictions: Sequence[_Row], scores: Sequence[_Row]) -> Iterator[Example]:
    """Yield one item at each of its temperatures."""
    first: dict[tuple[float, str], _Row] = {}
    for row in predictions:
        first.setdefault((float(row["temp"]), row["condition"]), row)
    scored = {(float(row["temp"]), row["condition"]): row for row in scores}
    for temperature in sorted({temperature for temperature, _ in first}):
        control, treatment = (
            _reply(first.get((temperature, arm.value)), scored.get((temperature, arm.value)))
            for arm in Condition
        )
        yield Example(
            item_key=key,
            dataset=predictions[0]["dataset"],
            type=ItemType(predictions[0]["type"]),
            temperature=temperature,
            outcome=_outcome(control.em if control else None, treatment.em if treatment else None),
            control=control,
            treatment=treatment,
        )


def _reply(draw: _Row | None, scores: _Row | None) -> Reply | None:
    if draw is None:
        return None
    return Reply(
        text=excerpt(draw["response_text"]),
        finish_reason=draw["finish_reason"],
        em=_number(scores, "em"),
        f1=_number(scores, "f1"),
        abstain_rate=_number(scores, "abstain_rate"),
        n_samples=int(scores["n_samples"]) if scores else 0,
    )


def _number(row: _Row | None, column: str) -> float | None:
    return float(row[column]) if row and row[column] else None


def _outcome(control: float | None, treatment: float | None) -> Outcome:
    if control is None or treatment is None:
        return Outcome.UNSCORED
    if control >= RIGHT_FROM:
        return Outcome.BOTH_RIGHT if treatment >= RIGHT_FROM else Outcome.LOST
    return Outcome.GAINED if treatment >= RIGHT_FROM else Outcome.BOTH_WRONG
