"""A trial: one cell of a grid, one folder. What it asks is told by its kind of experiment, and nowhere else."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Self

from overnight.prompting.messages import Message
from overnight.records import Arm, Condition, Item, ItemType
from overnight.spec.model import ModelSpec
from overnight.spec.sampling import MaxNewTokens, SamplingSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial(ABC):
    """One cell of the grid; its arms are the conditions of its experiment at each temperature."""

    model: ModelSpec
    temps: tuple[float, ...]
    top_p: float
    top_k: int
    max_new_tokens: MaxNewTokens
    sampling: SamplingSpec
    fingerprint: str

    @property
    @abstractmethod
    def slug(self) -> str:
        """The trial's folder."""

    @property
    @abstractmethod
    def label(self) -> str:
        """What it asks, in a word, for a table that names the model beside it."""

    @abstractmethod
    def requested(self) -> dict[str, Any]:
        """Return what was asked for, for the manifest and the report."""

    @abstractmethod
    def beginning(self, condition: Condition) -> str:
        """Return what all prompts of a condition begin with, whatever the item."""

    @abstractmethod
    def turn(self, item: Item) -> str:
        """Return what the prompt of an item has behind the beginning."""

    @property
    @abstractmethod
    def turns(self) -> object:
        """What is equal where two trials add the same for every item; hashable."""

    @abstractmethod
    def messages(self, item: Item, condition: Condition) -> tuple[Message, ...]:
        """Return the prompt of an item."""

    def prepared(self, shots: Mapping[str, Sequence[Item]]) -> Self:  # noqa: ARG002 - of those who show some
        """Return the trial with the answered questions that it shows, by dataset; most trials show none."""
        return self

    def asks_of(self, dataset: str | None) -> bool:  # noqa: ARG002 - all of them are asked here
        """True where the items of a dataset are asked."""
        return True

    @property
    def keeps_tokens(self) -> bool:
        """True where every token of an answer is kept with its log-probability."""
        return False

    @property
    def captures(self) -> bool:
        """True where what the model holds while it reads prompt and answer is looked at."""
        return False

    @property
    def longest_read_bytes(self) -> int:
        """Bytes of the longest text that the model reads beside the prompts; no item asks for it."""
        return 0

    def seed_label(self, item: Item) -> str:
        """Return what the seeds of an item's draws are made of: items of one label get one answer."""
        return item.key

    def arms(self, conditions: Iterable[Condition]) -> tuple[Arm, ...]:
        """Return the arms of some conditions: condition by condition, temperature by temperature."""
        return tuple(Arm(condition=c, temperature=t) for c, t in product(conditions, self.temps))

    def draws(self, temperature: float) -> int:
        """Return how often an item is asked: draws at temperature 0 would all be the same."""
        return self.sampling.samples_per_item if temperature > 0 else 1

    def n_requests(self, n_items: int, conditions: Sequence[Condition]) -> int:
        """Return the draws of some items, in some conditions."""
        return n_items * sum(self.draws(arm.temperature) for arm in self.arms(conditions))

    def token_limit(self, item_type: ItemType) -> int:
        """Return the longest completion of an item, in tokens."""
        return self.max_new_tokens.closed if item_type is ItemType.CLOSED else self.max_new_tokens.open
