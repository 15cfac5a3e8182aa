"""From ``significance.json`` to the comparisons that every report shows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from overnight.errors import StoreError
from overnight.records import ItemType
from overnight.report.comparisons import Cell, Equivalence, Extras, McNemarRow, MetricRow
from overnight.store.files import read_json

READABLE_VERSIONS = (2, 3)
_OWN_NAMES = ("metric", "delta", "ci_low", "ci_high", "extras")


def read_significance(path: Path) -> tuple[Mapping[str, Any], tuple[Cell, ...]]:
    """Return the settings of the statistics and the comparisons, by temperature and type.

    Raises:
        StoreError: the file is of a version that is not known.
        KeyError: a number is not there.
        TypeError: something is no object.
    """
    value = read_json(path)
    if value["schema_version"] not in READABLE_VERSIONS:
        raise StoreError(
            f"{path}: schema_version {value['schema_version']!r}, this version reads "
            f"{' and '.join(map(str, READABLE_VERSIONS))}; run the stats step again"
        )
    cells = [
        Cell(
            temperature=float(temperature),
            type=ItemType(kind),
            metrics=tuple(_metric(name, row) for name, row in cell["metrics"].items()),
            mcnemar=_mcnemar(cell["mcnemar"]) if cell["mcnemar"] else None,
            n_clusters=cell.get("n_clusters"),
        )
        for temperature, kinds in value["results"].items()
        for kind, cell in kinds.items()
    ]
    return value["stats_config"], tuple(sorted(cells, key=lambda cell: (cell.temperature, cell.type)))


def _metric(name: str, row: Mapping[str, Any]) -> MetricRow:
    same = {key: row[key] for key in MetricRow.__slots__ if key not in _OWN_NAMES}
    low, high = row["ci"]
    return MetricRow(
        metric=name, delta=row["delta_mean"], ci_low=low, ci_high=high, extras=_extras(row), **same
    )


def _extras(row: Mapping[str, Any]) -> Extras:
    wilcoxon = row.get("wilcoxon") or {}
    plain: dict[str, Any] = {
        name: row.get(name)
        for name in Extras.__slots__
        if name not in ("wilcoxon_w", "wilcoxon_p", "ci_control", "ci_treatment", "equivalence")
    }
    return Extras(
        ci_control=_bounds(row.get("ci_control")),
        ci_treatment=_bounds(row.get("ci_treatment")),
        wilcoxon_w=wilcoxon.get("w"),
        wilcoxon_p=wilcoxon.get("p_value"),
        equivalence=_equivalence(row["tost"]) if row.get("tost") else None,
        **plain,
    )


def _bounds(pair: Sequence[float | None] | None) -> tuple[float, float] | None:
    low, high = pair or (None, None)
    return None if low is None or high is None else (low, high)


def _equivalence(row: Mapping[str, Any]) -> Equivalence:
    low, high = row.get("ci") or (None, None)
    plain: dict[str, Any] = {
        name: row.get(name) for name in Equivalence.__slots__ if name not in ("ci_low", "ci_high")
    }
    return Equivalence(ci_low=low, ci_high=high, **plain)


def _mcnemar(row: Mapping[str, Any]) -> McNemarRow:
    # A version 2 file of an early build has no mid-p.
    return McNemarRow(**{"p_mid": None} | {key: row[key] for key in McNemarRow.__slots__ if key in row})
