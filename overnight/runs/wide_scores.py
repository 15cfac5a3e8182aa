"""A table of systems x items: one line an item, one column a system, or a system and a metric."""

import math
from array import array
from dataclasses import dataclass
from pathlib import Path

from overnight.errors import UsageError
from overnight.runs.score_columns import number, open_table

_ID_COLUMNS = ("item_key", "doc_id", "item_id", "id")


@dataclass(frozen=True, slots=True, kw_only=True)
class WideScores:
    """One metric of several systems over the same items."""

    scores: dict[str, dict[str, float | None]]  # by system, by item; None where undefined
    clusters: dict[str, str] | None


def is_wide(path: Path) -> bool:
    """Return whether a table is one of systems x items, and not a ``per_item_scores.csv``.

    Raises:
        StoreError: the file is missing or is no CSV.
    """
    with open_table(path) as (header, _):
        return "condition" not in header


def read_wide_scores(path: Path, metric: str) -> WideScores:
    """Read one metric of a wide CSV, line by line.

    Systems are the columns ``<system>:<metric>``, or, where no column has a colon, every column but the id.
    The id is the column item_key, doc_id, item_id or id, else the first one; a column cluster is no system.

    Raises:
        UsageError: no system has the metric.
        StoreError: the file is missing or cut off, names an item twice, or holds a value that is no finite
            number; with the line.
    """
    with open_table(path) as (header, rows):
        id_column = next((name for name in _ID_COLUMNS if name in header), header[0] if header else "")
        systems = _systems(path, header, id_column, metric)
        id_place = header.index(id_column)
        cluster_place = header.index("cluster") if "cluster" in header else None
        lines: dict[str, int] = {}  # item -> line; the order of the values
        values = {system: array("d") for system in systems}
        clusters: dict[str, str] = {}
        for line, row in rows:
            key = row[id_place]
            if lines.setdefault(key, line) != line:
                raise UsageError(
                    f"{path}:{line}: {id_column} {key!r} stands on line {lines[key]} already; take one out"
                )
            for system, place in systems.items():
                values[system].append(number(row[place], header[place], f"{path}:{line}"))
            if cluster_place is not None and row[cluster_place]:
                clusters[key] = row[cluster_place]
    if not lines:
        raise UsageError(f"{path}: no items below the header; there is nothing to compare")
    return WideScores(
        scores={
            system: {
                key: None if math.isnan(value) else value for key, value in zip(lines, column, strict=True)
            }
            for system, column in values.items()
        },
        clusters=clusters or None,
    )


def _systems(path: Path, header: list[str], id_column: str, metric: str) -> dict[str, int]:
    """Return where the column of each system is."""
    named = {name: name.rpartition(":") for name in header if ":" in name}
    if not named:
        systems = {
            name: place for place, name in enumerate(header) if name not in (id_column, "cluster") and name
        }
    else:
        systems = {
            system: header.index(name) for name, (system, _, found) in named.items() if found == metric
        }
    if not systems and named:
        known = sorted({found for _, _, found in named.values()})
        raise UsageError(f"{path}:1: no column <system>:{metric}; the metrics there are {', '.join(known)}")
    if len(systems) < 2:  # noqa: PLR2004 - a comparison takes two
        raise UsageError(
            f"{path}:1: {len(systems)} systems in {', '.join(header) or 'an empty line'}; "
            "a comparison takes two columns or more beside the id"
        )
    return systems
