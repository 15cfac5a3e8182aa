"""Whether a dataset can be used: it is there and parses, and what its questions look like."""

import contextlib
import hashlib
import heapq
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from overnight.checking.stages import Stage, StageFailed, Stages
from overnight.datasets.reading import Tally, iterate_items
from overnight.records import Item
from overnight.spec.dataset import DatasetSpec

N_EXAMPLES = 3
_LENGTHS = ("question", "context", "answer")
_LOT_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """How long the texts of one field are, in words; of the answers each gold counts."""

    field: str
    n: int
    shortest: int
    median: float
    mean: float
    longest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """What there is in a dataset."""

    tally: Tally
    n_answerable: int
    n_unanswerable: int
    n_with_context: int
    n_with_wrong_answers: int
    golds_per_item: float | None  # of those that have any
    n_duplicate_questions: int  # items that ask what an earlier one asks, of the same passage
    lengths: tuple[Lengths, ...]
    examples: tuple[Item, ...]

    @property
    def n_items(self) -> int:
        """How many items there are."""
        return self.n_answerable + self.n_unanswerable

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that any item has."""
        has = {
            "id": True,
            "question": True,
            "answers": bool(self.n_answerable),
            "context": bool(self.n_with_context),
            "wrong_answers": bool(self.n_with_wrong_answers),
        }
        return tuple(name for name, is_there in has.items() if is_there)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetCheck:
    """What was found, as far as it came."""

    dataset: DatasetSpec
    stages: tuple[Stage, ...]
    facts: DatasetFacts | None  # None: it does not parse

    @property
    def is_good(self) -> bool:
        """True where every row is an item or is accounted for."""
        return self.facts is not None


def check_dataset(spec: DatasetSpec, on_stage: Callable[[str], None] = lambda _: None) -> DatasetCheck:
    """Read a whole dataset, and say what is in it; memory does not grow with its texts.

    Args:
        spec: as the configuration has it; ``max_items`` is not applied.
        on_stage: told what begins.
    """
    stages = Stages(on_stage)
    facts = None
    with contextlib.suppress(StageFailed):  # the stage says why
        facts = stages.run("rows", lambda: _facts(spec), _said)
    return DatasetCheck(dataset=spec, stages=tuple(stages.done), facts=facts)


def _facts(spec: DatasetSpec) -> DatasetFacts:
    tally, tallied = Tally(), _Tallied()
    for item in iterate_items(spec, tally):
        tallied.add(item)
    return DatasetFacts(
        tally=tally,
        n_answerable=tallied.n_answerable,
        n_unanswerable=tallied.n_unanswerable,
        n_with_context=tallied.n_with_context,
        n_with_wrong_answers=tallied.n_with_wrong_answers,
        golds_per_item=tallied.n_golds / tallied.n_answerable if tallied.n_answerable else None,
        n_duplicate_questions=_n_repeated(tallied.asked),
        lengths=tuple(_summary(name, lengths) for name, lengths in tallied.n_words.items() if len(lengths)),
        examples=tuple(item for _, _, item in sorted(tallied.examples, reverse=True)),
    )


class _Tallied:
    """What is counted of items that come one at a time; a few bytes are held of each."""

    def __init__(self) -> None:
        self.n_answerable = self.n_unanswerable = self.n_with_context = self.n_with_wrong_answers = 0
        self.n_golds = 0
        self.n_words = {name: array("L") for name in _LENGTHS}
        self.asked = array("Q")
        self.examples: list[tuple[int, int, Item]] = []  # a heap, whose first has the largest lot

    def add(self, item: Item) -> None:
        """Count an item in."""
        self.n_answerable += not item.is_unanswerable
        self.n_unanswerable += item.is_unanswerable
        self.n_with_context += item.context is not None
        self.n_with_wrong_answers += bool(item.wrong_answers)
        self.n_golds += len(item.answers)
        self.n_words["question"].append(_n_words(item.question))
        if item.context is not None:
            self.n_words["context"].append(_n_words(item.context))
        self.n_words["answer"].extend(map(_n_words, item.answers))
        self.asked.append(_number(" ".join(item.question.split()).casefold(), item.context or ""))
        entry = (-_number(item.key), -len(self.asked), item)
        if len(self.examples) < N_EXAMPLES:
            heapq.heappush(self.examples, entry)
        else:
            heapq.heappushpop(self.examples, entry)


def _said(facts: DatasetFacts) -> str:
    return f"{facts.tally.n_rows:,} rows, {facts.n_items:,} items"


def _summary(name: str, lengths: "array[int]") -> Lengths:
    import numpy as np  # noqa: PLC0415 - the command line reads specifications without it

    values = np.array(lengths, dtype=np.int64)
    return Lengths(
        field=name,
        n=len(values),
        shortest=int(values.min()),
        median=float(np.median(values)),
        mean=float(values.mean()),
        longest=int(values.max()),
    )


def _n_repeated(digests: Iterable[int]) -> int:
    import numpy as np  # noqa: PLC0415 - the same

    values = np.array(digests, dtype=np.uint64)
    return len(values) - len(np.unique(values))


def _n_words(text: str) -> int:
    return len(text.split())


def _number(*parts: str) -> int:
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=_LOT_BYTES).digest())
