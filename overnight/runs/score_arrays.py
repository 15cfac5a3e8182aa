"""``per_item_scores.csv`` in columns: one array an arm and metric, aligned by item; NaN where undefined.

It is held whole, because intervals and models need every item at once, but as numbers: some hundred bytes an item
and arm. NaN never leaves this form: a record has null and says why.
"""

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from sys import intern

import numpy as np
from numpy.typing import NDArray

from overnight.errors import StoreError
from overnight.records import Condition, ItemType
from overnight.runs.tables import read_scores
from overnight.stats.clustered import IntArray
from overnight.stats.pairs import FloatArray

COLUMNS = ("em", "f1", "abstain_rate", "false_answer_rate", "empty_rate", "n_samples", "confidence")
ALL = "all"  # items of both types together
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreTable:
    """The scores of one trial; every array is ``[n_items]``, items in the order of their keys."""

    items: tuple[str, ...]
    kinds: NDArray[np.str_]  # open or closed
    datasets: NDArray[np.str_]
    clusters: IntArray  # one number a passage; a closed item is its own
    answerable: FloatArray  # 1 or 0, NaN where unknown
    arms: Mapping[tuple[Condition, float], Mapping[str, FloatArray]]

    @property
    def temperatures(self) -> list[float]:
        """Temperatures of which some arm has rows, rising."""
        return sorted({temperature for _, temperature in self.arms})

    def of_kinds(self) -> dict[str, BoolArray]:
        """Return the items of each type there is, and of all types where there are several."""
        masks = {kind.value: self.kinds == kind.value for kind in ItemType}
        present = {name: mask for name, mask in masks.items() if mask.any()}
        if len(present) > 1:
            present[ALL] = np.ones(len(self.items), dtype=bool)
        return present

    def values(self, condition: Condition, temperature: float, column: str) -> FloatArray:
        """Return one column of one arm; NaN where the item has no row or the metric is undefined."""
        arm = self.arms.get((condition, temperature))
        return np.full(len(self.items), np.nan) if arm is None else arm[column]

    def differences(self, temperature: float, column: str) -> FloatArray:
        """Return treatment - control; NaN where either is undefined."""
        return self.values(Condition.TREATMENT, temperature, column) - self.values(
            Condition.CONTROL, temperature, column
        )


@dataclass(slots=True)
class _Rows:
    """The rows of one arm while they are read."""

    items: array  # type: ignore[type-arg]  # of "q"
    columns: dict[str, array]  # type: ignore[type-arg]  # of "d"


def read_score_table(path: Path) -> ScoreTable:
    """Read a table of scores, in whatever order its rows are and with or without its later columns.

    Without ``cluster`` every item is its own; without ``answerable`` an open item is unanswerable where it
    has a false-answer rate, as only those have.

    Raises:
        StoreError: the file is missing, or a row is damaged or stands twice.
    """
    items: dict[str, int] = {}
    passages: dict[str, int] = {}
    facts: list[tuple[str, str, int, float]] = []
    arms: dict[tuple[Condition, float], _Rows] = {}
    for line, row in enumerate(read_scores(path), start=2):
        try:
            arm = Condition(row["condition"]), float(row["temp"])
            values = [_number(row.get(column)) for column in COLUMNS]
            fact = _facts(row)
        except (ValueError, TypeError):
            raise StoreError(f"{path}: row {line} is not a row of scores; run the score step again") from None
        index = items.setdefault(row["item_key"], len(items))
        if index == len(facts):
            dataset, kind, passage, is_answerable = fact
            cluster = passages.setdefault(passage, len(passages))
            facts.append((intern(dataset), kind, cluster, is_answerable))
        rows = arms.setdefault(arm, _Rows(array("q"), {column: array("d") for column in COLUMNS}))
        rows.items.append(index)
        for column, value in zip(COLUMNS, values, strict=True):
            rows.columns[column].append(value)

    keys = list(items)
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)
    place = np.empty(len(keys), dtype=np.int64)
    place[order] = np.arange(len(keys))
    datasets, kinds, clusters, answerable = (
        zip(*(facts[index] for index in order), strict=True) if facts else ((), (), (), ())
    )
    return ScoreTable(
        items=tuple(keys[index] for index in order),
        kinds=np.array(kinds, dtype=np.str_),
        datasets=np.array(datasets, dtype=np.str_),
        clusters=_by_first(np.array(clusters, dtype=np.int64)),
        answerable=np.array(answerable, dtype=np.float64),
        arms={arm: _aligned(path, keys, place, rows) for arm, rows in arms.items()},
    )


def _facts(row: Mapping[str, str]) -> tuple[str, str, str, float]:
    """Return what a row says of its item: dataset, type, cluster, and whether it can be answered."""
    kind = ItemType(row["type"])
    if row.get("answerable"):
        answerable = _number(row["answerable"])
    elif kind is ItemType.OPEN:
        answerable = 0.0 if row["false_answer_rate"] else 1.0
    else:
        answerable = math.nan
    return row["dataset"], kind.value, row.get("cluster") or row["item_key"], answerable


def _by_first(labels: IntArray) -> IntArray:
    """Return labels numbered by where they first occur, so that they do not hang on the order of the rows."""
    _, first, member = np.unique(labels, return_index=True, return_inverse=True)
    ranks: IntArray = np.argsort(np.argsort(first))[member].astype(np.int64)
    return ranks


def _number(cell: str | None) -> float:
    if not cell:
        return math.nan
    value = float(cell)
    if not math.isfinite(value):
        raise ValueError(cell)
    return value


def _aligned(path: Path, keys: list[str], place: IntArray, rows: _Rows) -> dict[str, FloatArray]:
    where = np.frombuffer(rows.items, dtype=np.int64)
    times = np.bincount(where, minlength=len(keys))
    if times.max(initial=0) > 1:
        raise StoreError(
            f"{path}: item {keys[int(times.argmax())]} stands {times.max()} times in one arm; "
            "run the score step again"
        )
    aligned = {}
    for column, cells in rows.columns.items():
        aligned[column] = np.full(len(keys), np.nan)
        aligned[column][place[where]] = np.frombuffer(cells, dtype=np.float64)
    return aligned
