"""A vector of a sweep: where it was read, and what stood there."""

from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """The state of one token of one text; a line of ``vectors.jsonl``, whose number is its index."""

    index: int  # over all vectors of a model and layer, from 0: dataset by dataset, text by text
    key: str  # digest in hex of the text and the position: the same in every run
    dataset: str
    item_id: str
    place: int  # among the positions that are taken of its text, from 0
    position: int  # of the token in its text, from 0
    n_tokens: int  # of its text
    token: str  # what the token writes
    before: str  # the end of what stands before the token
    after: str  # the beginning of what follows it
    role: str | None  # who says it: user, assistant, system, special; None where the text is no conversation

    @property
    def source(self) -> str:
        """The text that it is from: what is drawn anew when resampling."""
        return f"{self.dataset}|{self.item_id}"

    def to_json(self) -> dict[str, Any]:
        """Return its line."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Self:
        """Return the vector of a line.

        Raises:
            TypeError: it has other fields.
        """
        return cls(**row)
