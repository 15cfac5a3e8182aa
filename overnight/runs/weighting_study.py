"""``weighting_study.json`` of a trial: what 43 ways to weigh tokens are worth."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from overnight.errors import StoreError, UndefinedMetricError
from overnight.spec.base import Spec
from overnight.store.files import read_json
from overnight.uncertainty.selection import Selection, select
from overnight.uncertainty.table import ItemTable
from overnight.uncertainty.weighting import BASELINE


class WeightingRecord(Spec):
    """The study of one trial, by one label."""

    schema_version: Literal[1] = 1
    label: str
    n_schemes: int  # that were measured, equal weights among them
    selection: Selection | None
    undefined_because: str | None


def weighting_record(
    schemes: ItemTable, is_right: Mapping[str, bool], *, label: str, seed: int
) -> WeightingRecord:
    """Return what the ways to weigh tokens are worth by a label, or why nothing can be said.

    Args:
        schemes: a column each.
        is_right: by item key; of those that have the label.
        label: its name.
        seed: of the halves and the permutations.
    """
    found, why = None, None
    try:
        found = select(schemes, is_right, baseline=BASELINE, seed=seed)
    except UndefinedMetricError as reason:
        why = str(reason)
    return WeightingRecord(label=label, n_schemes=len(schemes.names), selection=found, undefined_because=why)


def read_weighting(path: Path) -> WeightingRecord:
    """Return what stands in ``weighting_study.json``.

    Raises:
        StoreError: it is missing, not JSON, or lacks something.
    """
    try:
        return WeightingRecord.model_validate(read_json(path))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise StoreError(f"{path}: {key}: {problem['msg']}; measure the trial again") from None
