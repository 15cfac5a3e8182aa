"""Ids of items: those that people gave, and those that are made of the content."""

import hashlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from overnight.datasets.rows import Place, Row, where
from overnight.errors import UsageError
from overnight.ids import digest

_ID_DIGITS = 16
_CONTENT_DIGITS = 8  # of a question that comes again with other answers
_DIGEST_BYTES = 16
_INDEX_BYTES = 8


@dataclass(slots=True)
class GivenIds:
    """Ids of the user's own rows, of which none may stand twice; 8 bytes are held of each."""

    digests: "array[int]" = field(default_factory=lambda: array("Q"))

    def of(self, row: Row) -> str:
        """Return a row's own id, and remember it."""
        item_id = str(row.item_id)
        self.digests.append(int.from_bytes(_digest(item_id)[:_INDEX_BYTES]))
        return item_id

    def require_distinct(self, source: str, rows_again: Callable[[], Iterator[Row]]) -> None:
        """Refuse an id that stands twice; ``rows_again`` is read once more only where one seems to.

        Raises:
            UsageError: it names the id and both of its places.
        """
        repeated = self._repeated()
        if not repeated:
            return
        places: dict[str, Place] = {}
        for row in rows_again():
            if row.item_id is None or int.from_bytes(_digest(row.item_id)[:_INDEX_BYTES]) not in repeated:
                continue
            if row.item_id in places:  # the texts themselves: two digests may be equal by chance
                raise _stands_twice(row, row.item_id, places[row.item_id], source, "")
            places[row.item_id] = row.place

    def _repeated(self) -> set[int]:
        import numpy as np  # noqa: PLC0415 - the command line reads specifications without it

        values = np.sort(np.array(self.digests, dtype=np.uint64))
        return {int(value) for value in values[1:][values[1:] == values[:-1]]}


@dataclass(slots=True)
class PublishedIds:
    """Ids of published rows, of which one may stand twice where it says the same, and ids made of the content."""

    source: str
    places: dict[bytes, Place] = field(default_factory=dict)
    contents: dict[bytes, bytes] = field(default_factory=dict)

    def of(self, row: Row) -> str | None:
        """Return the id of a row's item; None where the item has come before.

        A row without an id gets one by its content: of the question and its passage, or of the turns. Where the same
        question comes again with other answers, they are in its id too.

        Raises:
            UsageError: the row's own id stands for another row already.
        """
        said = [part for turn in row.turns for part in turn]
        content = _digest(row.question, row.context or "", *row.answers, *said)
        item_id = row.item_id or digest([row.question, row.context, *([said] if said else [])])[:_ID_DIGITS]
        if self._is_new(item_id, row, content):
            return item_id
        if self.contents[_digest(item_id)] == content:
            return None
        if row.item_id is not None:
            other = " with another question, passage or answers"
            raise _stands_twice(row, item_id, self.places[_digest(item_id)], self.source, other)
        item_id = f"{item_id}-{content.hex()[:_CONTENT_DIGITS]}"
        return item_id if self._is_new(item_id, row, content) else None

    def _is_new(self, item_id: str, row: Row, content: bytes) -> bool:
        key = _digest(item_id)
        if key in self.contents:
            return False
        self.contents[key] = content
        if row.item_id is not None:  # only such an id can be an error whose place has to be said
            self.places[key] = row.place
        return True


def _stands_twice(row: Row, item_id: str, first: Place, source: str, other: str) -> UsageError:
    stands = f"stands on line {first}" if isinstance(first, int) else f"stands at {first}"
    return UsageError(
        f"{where(source, row.place)}: id {item_id!r} {stands} already{other}; give every item an id of its own"
    )


def _digest(*parts: str) -> bytes:
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=_DIGEST_BYTES).digest()
