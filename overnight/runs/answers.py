"""The answers of a trial, item by item, read from its journal: the greedy one and those that were drawn at random."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from overnight.errors import UndefinedMetricError
from overnight.ids import custom_id
from overnight.planning.plan import Plan
from overnight.planning.trial import Trial
from overnight.records import Arm, Item
from overnight.runs.parsing import effective_rows, row_at
from overnight.store.run_folder import TrialFolder
from overnight.uncertainty.answer import CountedAnswer, GeneratedAnswer, count_tokens
from overnight.uncertainty.reading import read_answer


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAnswer:
    """An answer as it is measured, or why there is none."""

    text: str | None  # as it is scored
    finish_reason: str | None
    counted: CountedAnswer | None
    undefined_because: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemAnswers:
    """All answers to one item."""

    item: Item
    greedy: ReadAnswer
    samples: tuple[ReadAnswer, ...]

    @property
    def sample_texts(self) -> tuple[str, ...] | None:
        """The texts of all samples; None where there are none, or one is missing."""
        texts = tuple(sample.text for sample in self.samples if sample.text is not None)
        return texts if texts and len(texts) == len(self.samples) else None


def item_answers(folder: TrialFolder, plan: Plan, trial: Trial) -> Iterator[ItemAnswers]:
    """Yield the answers to each item, in the order of the plan; one item is held at a time.

    Raises:
        StoreError: the journal is damaged.
    """
    offsets = effective_rows(folder.journal)
    with folder.journal.open("rb") if offsets else BytesIO() as journal:

        def read(item: Item, arm: Arm, index: int) -> ReadAnswer:
            name = custom_id(item.key, arm.condition.value, arm.temperature, index, item.type.value)
            if name not in offsets:
                return _missing("it was not asked")
            row = row_at(journal, offsets[name])
            try:
                answer = read_answer(row, trial.sampling.stop)
            except UndefinedMetricError as reason:
                return _missing(str(reason))
            return ReadAnswer(
                text=answer.text, finish_reason=answer.finish_reason.value, counted=count_tokens(answer)
            )

        greedy, *sampled = trial.arms(plan.conditions)
        for item in plan.items_of(trial):
            yield ItemAnswers(
                item=item,
                greedy=read(item, greedy, 0),
                samples=tuple(
                    read(item, arm, index) for arm in sampled for index in range(trial.draws(arm.temperature))
                ),
            )


def greedy_answers(folder: TrialFolder, plan: Plan, trial: Trial) -> Iterator[tuple[Item, GeneratedAnswer]]:
    """Yield each item with its greedy answer, every token of it, in the order of the plan; items without are left out.

    Raises:
        StoreError: the journal is damaged.
    """
    offsets = effective_rows(folder.journal)
    greedy, *_ = trial.arms(plan.conditions)
    with folder.journal.open("rb") if offsets else BytesIO() as journal:
        for item in plan.items_of(trial):
            name = custom_id(item.key, greedy.condition.value, greedy.temperature, 0, item.type.value)
            if name not in offsets:
                continue
            try:
                answer = read_answer(row_at(journal, offsets[name]), trial.sampling.stop)
            except UndefinedMetricError:
                continue
            yield item, answer


def question_of(item: Item, *, with_context: bool) -> str:
    """Return what stands before an answer where its tokens' relevance is asked for."""
    return f"{item.context} {item.question}" if with_context and item.context else item.question


def _missing(why: str) -> ReadAnswer:
    return ReadAnswer(text=None, finish_reason=None, counted=None, undefined_because=why)
