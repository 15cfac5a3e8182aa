"""Reading a dataset into items; a row that cannot be an item is an error with its place."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from overnight.datasets.formats import READERS, Reader
from overnight.datasets.hub import hub_rows
from overnight.datasets.identity import GivenIds, PublishedIds
from overnight.datasets.rows import Row, clean_text, where
from overnight.errors import UsageError
from overnight.ids import canonical_json
from overnight.records import Item, ItemType
from overnight.spec.dataset import DatasetSpec
from overnight.texts import unwritable

__all__ = ["RowsDigest", "Tally", "clean_text", "iterate_items", "read_items", "rows_digest"]


@dataclass(slots=True)
class Tally:
    """What became of the rows of one dataset."""

    n_rows: int = 0
    n_duplicates: int = 0  # the same question under the same id with the same answers, left out
    n_items: int = 0
    n_blank_answers: int = 0  # of a published file, left out


def read_items(spec: DatasetSpec) -> list[Item]:
    """Return the items of a dataset in the order of its file; ``max_items`` is not applied.

    Raises:
        UsageError: the file is missing or empty, a row is not an item, or an id stands twice.
    """
    return list(iterate_items(spec, Tally()))


def iterate_items(spec: DatasetSpec, tally: Tally) -> Iterator[Item]:
    """Yield the items of a dataset one at a time and count what became of its rows.

    Of what was read before, only digests of ids are held: 8 bytes for an id that the user gave, some 200 for one of a
    published file or one that is made of the content.

    Raises:
        UsageError: as ``read_items``; an id of the user's that stands twice is said after the last row.
    """
    reader = READERS[spec.format]
    given, ids = GivenIds(), PublishedIds(spec.source)
    for row in _rows(spec, reader):
        tally.n_rows += 1
        tally.n_blank_answers += row.n_blank_answers
        _require_askable(spec, row, reader)
        is_given = row.item_id is not None and not reader.is_published
        item_id = given.of(row) if is_given else ids.of(row)
        if item_id is None:
            tally.n_duplicates += 1
            continue
        tally.n_items += 1
        yield _item(spec, row, item_id)
    if not tally.n_rows:
        raise UsageError(f"{spec.source}: no items in it; dataset {spec.name!r} needs at least one")
    given.require_distinct(spec.source, lambda: _rows(spec, reader))


def rows_digest(spec: DatasetSpec) -> str:
    """Return the digest of everything that a dataset's items hold, in their order: 64 hex digits.

    Raises:
        UsageError: as ``read_items``.
    """
    sha = RowsDigest()
    for item in iterate_items(spec, Tally()):
        sha.add(item)
    return sha.hexdigest()


class RowsDigest:
    """The digest of items that come one at a time."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()

    def add(self, item: Item) -> None:
        """Count an item in; the answer rule and the name of its dataset are not part of it."""
        value: list[Any] = [
            item.item_id,
            item.question,
            item.context,
            list(item.answers),
            list(item.wrong_answers),
        ]
        if item.turns:
            value.append([list(turn) for turn in item.turns])
        self._sha.update(canonical_json(value).encode("ascii") + b"\n")

    def hexdigest(self) -> str:
        """Return the digest of the items so far."""
        return self._sha.hexdigest()


def _rows(spec: DatasetSpec, reader: Reader) -> Iterator[Row]:
    if spec.hub is not None and reader.hub_row is not None:
        for place, row in hub_rows(spec.hub):
            yield reader.hub_row(spec, row, place)
    elif spec.path is not None:
        if not spec.path.exists():
            raise UsageError(f"{spec.path}: no such file; dataset {spec.name!r} names it")
        yield from reader.file(spec, spec.path)


def _require_askable(spec: DatasetSpec, row: Row, reader: Reader) -> None:
    at = where(spec.source, row.place)
    _require_writable(row, at)
    is_open = spec.type is ItemType.OPEN
    if not is_open and not row.answers and spec.format.has_golds:
        raise UsageError(f"{at}: answers: empty; a closed-book item needs at least one gold answer")
    if is_open and row.context is None:
        raise UsageError(f"{at}: context: found nothing, wanted a text; an open-book item needs its passage")
    if not is_open and row.context is not None and not reader.is_published:
        raise UsageError(f"{at}: context: not allowed in a closed-book dataset; set type: open")


def _require_writable(row: Row, at: str) -> None:
    texts = {
        "id": [row.item_id or ""],
        "question": [row.question],
        "answers": row.answers,
        "wrong_answers": row.wrong_answers,
        "context": [row.context or ""],
    }
    for name, parts in texts.items():
        for part in parts:
            if strange := unwritable(part):
                raise UsageError(
                    f"{at}: {name}: the text holds {strange}; take it out, and save the file as UTF-8"
                )


def _item(spec: DatasetSpec, row: Row, item_id: str) -> Item:
    return Item(
        dataset=spec.name,
        item_id=item_id,
        type=spec.type,
        question=row.question,
        answers=row.answers,
        context=row.context if spec.type is ItemType.OPEN else None,
        rule=spec.answer_rule,
        wrong_answers=row.wrong_answers,
        turns=row.turns,
    )
