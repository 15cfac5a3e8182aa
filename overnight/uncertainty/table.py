"""One row an item, one column a measure or a label; nothing is ever put in the place of what is missing."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from overnight.errors import UndefinedMetricError
from overnight.uncertainty.evidence import Evidence
from overnight.uncertainty.measure import Measure, Need

Subject = TypeVar("Subject")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One value, or why there is none."""

    value: float | None
    undefined_because: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One measure or label over all items."""

    name: str
    version: int
    cells: tuple[Cell, ...]  # [n_items]
    source: str | None = None  # the models that had a say in it, with their revisions

    @property
    def n_missing(self) -> int:
        """How many items have no value."""
        return sum(cell.value is None for cell in self.cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemTable:
    """Columns over the same items in the same order."""

    item_keys: tuple[str, ...]
    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        """Refuse columns of another length, and items or columns that occur twice."""
        if len(set(self.item_keys)) < len(self.item_keys):
            raise ValueError("an item occurs twice; a row is one item")
        if len({column.name for column in self.columns}) < len(self.columns):
            raise ValueError("a column occurs twice")
        for column in self.columns:
            if len(column.cells) != len(self.item_keys):
                raise ValueError(
                    f"{len(column.cells)} values of {column.name} for {len(self.item_keys)} items"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, in order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Return a column.

        Raises:
            KeyError: there is none of this name.
        """
        return {column.name: column for column in self.columns}[name]

    def common_items(self, names: Sequence[str] | None = None) -> tuple[str, ...]:
        """Return the items for which all of these columns have a value, in order; None: all columns.

        Measures are compared on these alone. A column that has no value at all leaves no item: see
        `Column.n_missing` for who loses them.
        """
        columns = self.columns if names is None else [self.column(name) for name in names]
        return tuple(
            key
            for row, key in enumerate(self.item_keys)
            if all(column.cells[row].value is not None for column in columns)
        )

    def values(self, name: str, item_keys: Sequence[str]) -> list[float]:
        """Return the values of a column for some items, in their order.

        Raises:
            UndefinedMetricError: an item has none; the message says why.
            KeyError: there is no such column or item.
        """
        cells = dict(zip(self.item_keys, self.column(name).cells, strict=True))
        return [_value(cells[key], name, key) for key in item_keys]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmeasured:
    """An item of which no measure can have a value: it has no answer."""

    item_key: str
    reason: str


def measure_items(
    items: Iterable[Evidence | Unmeasured],
    measures: Sequence[Measure],
    sources: Mapping[Need, str] = MappingProxyType({}),
) -> ItemTable:
    """Return every measure of every item.

    Args:
        items: what is known of each.
        measures: the columns.
        sources: the model behind what measures need (relevance, entailment), with its revision.

    Raises:
        ValueError: an item or a measure occurs twice.
    """
    keys: list[str] = []
    rows: list[list[Cell]] = []
    for item in items:
        keys.append(item.item_key)
        if isinstance(item, Unmeasured):
            rows.append([Cell(value=None, undefined_because=item.reason)] * len(measures))
        else:
            rows.append([cell_of(measure.of, item) for measure in measures])
    return ItemTable(
        item_keys=tuple(keys),
        columns=tuple(
            Column(
                name=measure.name,
                version=measure.version,
                cells=tuple(row[place] for row in rows),
                source=", ".join(sources[need] for need in sorted(measure.needs) if need in sources) or None,
            )
            for place, measure in enumerate(measures)
        ),
    )


def cell_of(of: Callable[[Subject], float], subject: Subject) -> Cell:
    """Return the value of a function, or the reason that it gives for having none."""
    try:
        value = float(of(subject))
    except UndefinedMetricError as reason:
        return Cell(value=None, undefined_because=str(reason))
    if not math.isfinite(value):
        return Cell(value=None, undefined_because=f"the value is {value}, which ranks nothing")
    return Cell(value=value)


def _value(cell: Cell, name: str, key: str) -> float:
    if cell.value is None:
        raise UndefinedMetricError(f"{key} has no {name}: {cell.undefined_because}")
    return cell.value
