"""What the columns of a trial's ``uncertainty.csv`` are: ``uncertainty_columns.json``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from overnight.errors import StoreError
from overnight.spec.base import Spec
from overnight.store.files import read_json
from overnight.uncertainty.labels import LABELS
from overnight.uncertainty.measures import MEASURES
from overnight.uncertainty.table import Column, ItemTable

LABEL: Final = "label_"  # before the name of a label, in the heading of the table


class MissingValues(Spec):
    """The items of a column that have no value for one reason."""

    because: str
    n_items: int
    item_keys: tuple[str, ...] | None = None  # None: all that have no value in this column


class ColumnRecord(Spec):
    """One column."""

    name: str
    title: str  # as it stands in tables and figures
    version: int
    unit: str | None
    source: str | None  # the models that had a say in it, with their revisions
    n_missing: int
    missing: tuple[MissingValues, ...]

    def reasons(self) -> Iterator[tuple[str | None, str]]:
        """Yield items and why they have no value; None for all that have none."""
        for one in self.missing:
            for key in (None,) if one.item_keys is None else one.item_keys:
                yield key, one.because


class ColumnsRecord(Spec):
    """All columns, in the order of the table."""

    schema_version: Literal[1] = 1
    dataset: str
    n_items: int
    measures: tuple[ColumnRecord, ...]  # higher is less certain
    labels: tuple[ColumnRecord, ...]  # 1 right, 0 wrong


def columns_record(dataset: str, measures: ItemTable, labels: ItemTable) -> ColumnsRecord:
    """Return what is to be known of the columns of a trial."""
    return ColumnsRecord(
        dataset=dataset,
        n_items=len(measures.item_keys),
        measures=tuple(
            _column(
                one,
                measures.item_keys,
                title=MEASURES[one.name].title if one.name in MEASURES else one.name,
                unit=MEASURES[one.name].unit if one.name in MEASURES else None,
            )
            for one in measures.columns
        ),
        labels=tuple(
            _column(
                one,
                labels.item_keys,
                title=LABELS[one.name].title if one.name in LABELS else one.name,
                unit=None,
            )
            for one in labels.columns
        ),
    )


def read_columns(path: Path) -> ColumnsRecord:
    """Return what stands in ``uncertainty_columns.json``.

    Raises:
        StoreError: it is missing, not JSON, or lacks something.
    """
    try:
        return ColumnsRecord.model_validate(read_json(path))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise StoreError(f"{path}: {key}: {problem['msg']}; measure the trial again") from None


def _column(column: Column, keys: tuple[str, ...], *, title: str, unit: str | None) -> ColumnRecord:
    reasons: dict[str, list[str]] = {}
    for key, cell in zip(keys, column.cells, strict=True):
        if cell.value is None:
            reasons.setdefault(cell.undefined_because or "no reason was given", []).append(key)
    return ColumnRecord(
        name=column.name,
        title=title,
        version=column.version,
        unit=unit,
        source=column.source,
        n_missing=column.n_missing,
        missing=tuple(
            # One reason belongs to every gap, so that its items need no list.
            MissingValues(
                because=because, n_items=len(items), item_keys=None if len(reasons) == 1 else tuple(items)
            )
            for because, items in reasons.items()
        ),
    )
