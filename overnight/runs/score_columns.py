"""Scores per item as columns of floats: what the statistics need of a ``per_item_scores.csv``, and no more."""

import csv
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import NamedTuple

from overnight.errors import StoreError
from overnight.records import Condition, ItemType
from overnight.stats.compare import METRICS, OPTIONAL_METRICS

_KEY_COLUMNS = ("item_key", "type", "condition", "temp")
_ALL_METRICS = tuple(dict.fromkeys(metric for metrics in METRICS.values() for metric in metrics))


class Cell(NamedTuple):
    """One arm of one comparison."""

    temperature: float
    type: ItemType
    condition: Condition


@dataclass(slots=True)
class _Rows:
    index: dict[str, int] = field(default_factory=dict)  # item key -> position
    values: dict[str, "array[float]"] = field(default_factory=dict)  # metric -> [n]; NaN: undefined


@dataclass(slots=True)
class ScoreColumns:
    """The scores of a table: eight bytes a value, and each item key once."""

    cells: dict[Cell, _Rows]
    clusters: dict[str, str]  # of items that share one with others or could

    def kinds(self) -> list[tuple[float, ItemType]]:
        """Return the temperatures and types that have rows, sorted."""
        return sorted({(cell.temperature, cell.type) for cell in self.cells})

    def has(self, metric: str, temperature: float, kind: ItemType) -> bool:
        """Return whether any row of either arm defines a metric."""
        arms = (self.cells.get(Cell(temperature, kind, condition)) for condition in Condition)
        return any(not math.isnan(value) for rows in arms if rows for value in rows.values.get(metric, ()))

    def arm(
        self, temperature: float, kind: ItemType, condition: Condition, metric: str
    ) -> dict[str, float | None]:
        """Return one metric of one arm by item key; None where it is undefined."""
        rows = self.cells.get(Cell(temperature, kind, condition))
        if rows is None or metric not in rows.values:
            return {}
        values = rows.values[metric]
        return {
            key: None if math.isnan(values[place]) else values[place] for key, place in rows.index.items()
        }


def read_score_columns(path: Path, metrics: Iterable[str] = _ALL_METRICS) -> ScoreColumns:
    """Read some metrics of a ``per_item_scores.csv``, row by row, in any order of rows and columns.

    Raises:
        StoreError: the file is missing, cut off, has not the columns, names an item twice in an arm, or holds
            a value that is no finite number; with the line.
    """
    wanted = tuple(metrics)
    table = ScoreColumns(cells={}, clusters={})
    with open_table(path) as (header, rows):
        required = [*_KEY_COLUMNS, *(metric for metric in wanted if metric not in OPTIONAL_METRICS)]
        if missing := [name for name in required if name not in header]:
            raise StoreError(
                f"{path}:1: no column {', '.join(missing)}; found {', '.join(header) or 'an empty line'}; "
                "wanted a per_item_scores.csv"
            )
        places = {name: header.index(name) for name in (*required, *OPTIONAL_METRICS) if name in header}
        cluster_place = header.index("cluster") if "cluster" in header else None
        for line, row in rows:
            _add(table, row, places, wanted, f"{path}:{line}")
            if cluster_place is not None:
                _add_cluster(table, row[places["item_key"]], row[cluster_place], f"{path}:{line}")
    if not _ends_its_last_line(path):
        raise StoreError(f"{path}: the last line has no end, so the file is cut off; write or copy it again")
    return table


@contextmanager
def open_table(path: Path) -> Iterator[tuple[list[str], Iterator[tuple[int, list[str]]]]]:
    """Give the header of a CSV file, and its rows with their line numbers; a byte order mark is no column.

    Raises:
        StoreError: the file is missing or not UTF-8, names a column twice, or a row has another length.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            if twice := sorted({name for name in header if header.count(name) > 1}):
                raise StoreError(f"{path}:1: column {', '.join(twice)} stands twice; give each one name")
            yield header, _rows(path, reader, len(header))
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file; run the step that writes it first") from None
    except UnicodeDecodeError as error:
        raise StoreError(
            f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
    except csv.Error as error:
        raise StoreError(f"{path}: not a whole CSV file ({error}); write or copy it again") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from None


def number(text: str, column: str, where: str) -> float:
    """Return a finite number, or NaN for an empty field.

    Raises:
        StoreError: it is neither.
    """
    if not text or text.isspace():
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise StoreError(
            f"{where}: {column} is {text!r}; wanted a finite number, or nothing where it is undefined"
        )
    return value


def _rows(path: Path, reader: Iterator[list[str]], n_columns: int) -> Iterator[tuple[int, list[str]]]:
    for row in reader:
        line: int = reader.line_num  # type: ignore[attr-defined]
        if not row:
            continue
        if len(row) != n_columns:
            raise StoreError(
                f"{path}:{line}: {len(row)} fields, wanted {n_columns}; the file is cut off or damaged here"
            )
        yield line, row


def _add(
    table: ScoreColumns, row: list[str], places: Mapping[str, int], wanted: tuple[str, ...], where: str
) -> None:
    key = intern(row[places["item_key"]])
    try:
        cell = Cell(
            number(row[places["temp"]], "temp", where),
            ItemType(row[places["type"]]),
            Condition(row[places["condition"]]),
        )
    except ValueError as error:
        raise StoreError(f"{where}: {error}; wanted a row of a per_item_scores.csv") from None
    if not key or math.isnan(cell.temperature):
        raise StoreError(f"{where}: item_key or temp is empty; wanted a row of a per_item_scores.csv")
    rows = table.cells.setdefault(cell, _Rows())
    if rows.index.setdefault(key, len(rows.index)) != len(rows.index) - 1:
        raise StoreError(
            f"{where}: item {key} stands twice for {cell.condition.value} at temperature {cell.temperature}; "
            "take one out"
        )
    for metric in wanted:
        if metric in places and metric in METRICS[cell.type]:
            value = number(row[places[metric]], metric, where)
            rows.values.setdefault(metric, array("d")).append(value)


def _add_cluster(table: ScoreColumns, key: str, cluster: str, where: str) -> None:
    if not cluster or cluster == key:
        return
    if (known := table.clusters.setdefault(intern(key), intern(cluster))) != cluster:
        raise StoreError(f"{where}: item {key} is in cluster {cluster}, before in {known}; an item has one")


def _ends_its_last_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) in b"\r\n"
