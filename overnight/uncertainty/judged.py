"""Measures made comparable: all sound measures of a trial, by one label, on the same items."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from overnight.stats.degeneracy import Limits, degeneracy
from overnight.stats.scored_items import ScoredItems, scored_items
from overnight.uncertainty.analysis import MeasuredTrial, Spread
from overnight.uncertainty.table import Column, ItemTable


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """The measures of a trial against one label.

    A measure is sound where `degeneracy` finds nothing on the items that have it; sound ones are cut down to the
    items that all of them have. One that is not keeps its own items, which say what is wrong with it.
    """

    trial: MeasuredTrial
    label: str
    is_right: dict[str, bool | None]  # by item; None without a label
    own: dict[str, ScoredItems]  # by measure, on the items that have it
    common: dict[str, ScoredItems]  # by measure, sound ones on the same items
    n_common: int
    n_passages: int | None  # among the common items; None where no two share one


def judged(trial: MeasuredTrial, label: str, limits: Limits) -> Judged:
    """Return the measures of a trial against one of its labels."""
    is_right = {
        key: None if value is None else bool(value) for key, value in by_item(trial.labels, label).items()
    }
    own = {
        name: scored_items(by_item(trial.measures, name), is_right, trial.clusters)
        for name in trial.measures.names
    }
    sound = {name for name, items in own.items() if degeneracy(items, limits) is None}
    shared = frozenset.intersection(*(frozenset(own[name].keys) for name in sound)) if sound else frozenset()
    common = {name: items.only(shared) if name in sound else items for name, items in own.items()}
    alike = next((common[name] for name in sound if common[name].clusters is not None), None)
    return Judged(
        trial=trial,
        label=label,
        is_right=is_right,
        own=own,
        common=common,
        n_common=len(shared),
        n_passages=None if alike is None else alike.n_clusters,
    )


def by_item(table: ItemTable, name: str) -> Mapping[str, float | None]:
    """Return a column by item key."""
    return {key: cell.value for key, cell in zip(table.item_keys, table.column(name).cells, strict=True)}


def spread(column: Column) -> Spread:
    """Return the mean, standard deviation and range of the values of a column."""
    # Sorted, so that no order of rows moves the last digit.
    values = np.array(sorted(cell.value for cell in column.cells if cell.value is not None), dtype=np.float64)
    n = len(values)
    return Spread(
        n=n,
        n_missing=column.n_missing,
        mean=math.fsum(values) / n if n else None,
        sd=float(values.std(ddof=1)) if n > 1 else None,
        low=float(values[0]) if n else None,
        high=float(values[-1]) if n else None,
    )
