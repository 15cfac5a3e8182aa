"""The measures and labels of a trial as files: ``uncertainty.csv``, and ``uncertainty_columns.json`` beside it.

The table has a row an item; the other file says what each column is, which version of it, by which models, and why
a value is missing. Together they give back what was measured, without a model.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overnight.errors import StoreError
from overnight.runs.tables import cell, read_table, table_writer
from overnight.runs.uncertainty_columns import LABEL, ColumnRecord, columns_record, read_columns
from overnight.stats.model_cells import ModelFacts
from overnight.store.files import write_json
from overnight.uncertainty.analysis import ItemText, MeasuredTrial
from overnight.uncertainty.table import Cell, Column, ItemTable

TABLE: Final = "uncertainty.csv"
COLUMNS: Final = "uncertainty_columns.json"
FIRST_COLUMNS: Final = ("dataset", "item_key", "finish_reason", "n_tokens")
_LENGTH: Final = "n_tokens"  # a measure too; its values stand in the column that every table has
_AGAIN: Final = "measure the trial again"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredItems:
    """The items of a trial, measured and labelled."""

    dataset: str
    finish_reasons: tuple[str | None, ...]  # [n_items] of the greedy answer; None: there is none
    n_tokens: tuple[int | None, ...]  # [n_items] that count; None: not known
    measures: ItemTable
    labels: ItemTable  # of the same items in the same order

    def __post_init__(self) -> None:
        """Refuse columns that are not over the same items, and a length that is not the number of tokens."""
        keys = self.measures.item_keys
        if self.labels.item_keys != keys or not len(self.finish_reasons) == len(self.n_tokens) == len(keys):
            raise ValueError("measures, labels, finish reasons and lengths are not of the same items")
        if _LENGTH in self.measures.names and self.n_tokens != tuple(
            one.value for one in self.measures.column(_LENGTH).cells
        ):
            raise ValueError("the measure n_tokens and the numbers of tokens differ")

    def trial(
        self,
        slug: str,
        model: ModelFacts,
        texts: Mapping[str, ItemText] | None = None,
        clusters: Mapping[str, str] | None = None,
    ) -> MeasuredTrial:
        """Return what an analysis takes; ``clusters`` are the passages of the items."""
        keys = self.measures.item_keys
        return MeasuredTrial(
            slug=slug,
            model=model,
            dataset=self.dataset,
            measures=self.measures,
            labels=self.labels,
            lengths={key: float(n) for key, n in zip(keys, self.n_tokens, strict=True) if n is not None},
            texts=texts or {},
            clusters=clusters or {},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialTable:
    """Where the tables of one trial are, and whose they are."""

    slug: str
    model: str
    results: Path


def write_measured_items(results: Path, items: MeasuredItems) -> None:
    """Write both files into the results of a trial."""
    measures = [column for column in items.measures.columns if column.name != _LENGTH]
    labels = items.labels.columns
    header = (*FIRST_COLUMNS, *(one.name for one in measures), *(LABEL + one.name for one in labels))
    record = columns_record(items.dataset, items.measures, items.labels)
    write_json(results / COLUMNS, record.model_dump(mode="json"))
    with table_writer(results / TABLE, header) as table:
        for row, key in enumerate(items.measures.item_keys):
            right = [column.cells[row].value for column in labels]
            table.writerow(
                [
                    items.dataset,
                    key,
                    items.finish_reasons[row] or "",
                    items.n_tokens[row],
                    *(cell(column.cells[row].value) for column in measures),
                    *(None if value is None else int(value) for value in right),
                ]
            )


def read_measured_items(results: Path) -> MeasuredItems:
    """Read both files of a trial.

    Raises:
        StoreError: one is missing, cut or damaged, or they do not belong together.
    """
    record, path = read_columns(results / COLUMNS), results / TABLE
    measures = [_Reading(one, one.name) for one in record.measures]
    labels = [_Reading(one, LABEL + one.name) for one in record.labels]
    header = tuple(dict.fromkeys((*FIRST_COLUMNS, *(one.heading for one in (*measures, *labels)))))
    keys: list[str] = []
    reasons: list[str | None] = []
    lengths: list[int | None] = []
    for number, row in enumerate(read_table(path, header, header), start=1):
        where = f"{path}: item {number}"
        if row["dataset"] != record.dataset:
            raise StoreError(f"{where} is of {row['dataset']!r}, {COLUMNS} of {record.dataset!r}; {_AGAIN}")
        length = _number(row[_LENGTH], where, _LENGTH)
        keys.append(row["item_key"])
        reasons.append(row["finish_reason"] or None)
        lengths.append(None if length is None else int(length))
        for column in (*measures, *labels):
            column.take(row, where)
    if len(keys) != record.n_items:
        raise StoreError(f"{path}: {len(keys)} items, {COLUMNS} says {record.n_items}; {_AGAIN}")
    try:
        return MeasuredItems(
            dataset=record.dataset,
            finish_reasons=tuple(reasons),
            n_tokens=tuple(lengths),
            measures=ItemTable(item_keys=tuple(keys), columns=tuple(one.column() for one in measures)),
            labels=ItemTable(item_keys=tuple(keys), columns=tuple(one.column() for one in labels)),
        )
    except ValueError as error:
        raise StoreError(f"{path}: {error}; {_AGAIN}") from None


def write_run_table(path: Path, trials: Sequence[TrialTable]) -> None:
    """Write the rows of all trials under one heading, ``trial,model`` first, row by row.

    A column that a trial lacks is empty there.

    Raises:
        StoreError: a file of a trial is missing, cut or damaged.
    """
    records = [read_columns(trial.results / COLUMNS) for trial in trials]
    measures = [one.name for record in records for one in record.measures]
    labels = [LABEL + one.name for record in records for one in record.labels]
    columns = tuple(dict.fromkeys((*FIRST_COLUMNS, *measures, *labels)))
    with table_writer(path, ("trial", "model", *columns)) as table:
        for trial in trials:
            for row in read_table(trial.results / TABLE, FIRST_COLUMNS, columns):
                table.writerow([trial.slug, trial.model, *(row[column] for column in columns)])


class _Reading:
    """A column while its rows are read."""

    def __init__(self, record: ColumnRecord, heading: str) -> None:
        self.heading = heading
        self._record = record
        self._reasons = dict(record.reasons())
        self._cells: list[Cell] = []

    def take(self, row: Mapping[str, str], where: str) -> None:
        value = _number(row[self.heading], where, self.heading)
        if value is not None and self.heading.startswith(LABEL) and value not in (0.0, 1.0):
            raise StoreError(f"{where}: {self.heading} is {row[self.heading]!r}, wanted 1, 0 or nothing")
        why = None
        if value is None:
            why = self._reasons.get(row["item_key"], self._reasons.get(None))
            if why is None:
                raise StoreError(f"{where}: no {self.heading}, and {COLUMNS} gives no reason; {_AGAIN}")
        self._cells.append(Cell(value=value, undefined_because=why))

    def column(self) -> Column:
        record = self._record
        return Column(
            name=record.name, version=record.version, cells=tuple(self._cells), source=record.source
        )


def _number(text: str, where: str, heading: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise StoreError(f"{where}: {heading} is {text!r}, wanted a number or nothing")
    return value
