"""``validity.json`` and ``superposition.csv``: what the vectors of a model are worth, and how alike they are."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from overnight.errors import StoreError
from overnight.store.files import read_json

AGAIN: Final = "extract the vectors again"
_ROUNDING: Final = 1e-4
Share = Annotated[float, Field(ge=0, le=1)]


class _Record(BaseModel):
    """A record of a file; a key that this version does not know is no fault."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class NullBand(_Record):
    """The held-out accuracies of directions that know nothing."""

    n: int
    mean: Share | None = None
    low: Share | None = None  # 2.5th percentile
    high: Share | None = None  # 97.5th percentile
    p_value: Share | None = None  # share of the null at or above what was found, itself counted


class LayerValidity(_Record):
    """How well a vector of one layer and component parts texts that it was not made from."""

    layer: int = Field(ge=0)
    component: str = "residual_out"
    held_out_accuracy: Share | None = None
    cohens_d: float | None = None
    auroc: Share | None = None
    nulls: Mapping[str, NullBand] = {}  # by kind: permuted_labels, random_directions

    @property
    def null_high(self) -> float | None:
        """The highest upper end of its null bands; None where there is none."""
        return max((band.high for band in self.nulls.values() if band.high is not None), default=None)

    @property
    def null_low(self) -> float | None:
        """The lowest lower end of its null bands; None where there is none."""
        return min((band.low for band in self.nulls.values() if band.low is not None), default=None)

    @property
    def is_better_than_null(self) -> bool | None:
        """Whether the accuracy lies above every null band; None where there is nothing to compare."""
        if self.held_out_accuracy is None or self.null_high is None:
            return None
        return self.held_out_accuracy > self.null_high


class TraitValidity(LayerValidity):
    """The vector of a trait that was chosen, and those of all layers."""

    trait: str
    method: str
    position: str = ""
    n_held_out: int | None = None
    by_layer: tuple[LayerValidity, ...] = ()


class ModelValidity(_Record):
    """``validity.json``."""

    schema_version: Literal[1]
    traits: tuple[TraitValidity, ...]

    def of(self, trait: str) -> TraitValidity | None:
        """Return what is known of a trait's vector."""
        return next((one for one in self.traits if one.trait == trait), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Superposition:
    """The cosines between the vectors of V traits."""

    traits: tuple[str, ...]
    cosines: tuple[tuple[float | None, ...], ...]  # [V][V]; None where a vector has no length


def read_validity(path: Path) -> ModelValidity:
    """Return what the vectors of a model are worth.

    Raises:
        StoreError: the file is missing, or lacks something.
    """
    try:
        return ModelValidity.model_validate(read_json(path))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise StoreError(f"{path}: {key}: {problem['msg']}; {AGAIN}") from None


def read_superposition(path: Path) -> Superposition:
    """Return the cosines of a table: ``trait``, then a column a trait, in the order of the rows.

    Raises:
        StoreError: the file is missing, or is none of cosines.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head, *rows = list(csv.reader(file)) or [[]]
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file; {AGAIN}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StoreError(f"{path}: cannot be read ({error}); {AGAIN}") from None
    traits = tuple(head[1:])
    if head[:1] != ["trait"] or tuple(row[0] for row in rows if row) != traits:
        raise StoreError(f"{path}: columns {head!r}, wanted trait and then a column for each row; {AGAIN}")
    return Superposition(
        traits=traits, cosines=tuple(tuple(_cosine(text, path) for text in row[1:]) for row in rows)
    )


def _cosine(text: str, path: Path) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= 1 + _ROUNDING:
        raise StoreError(f"{path}: {text!r}, wanted a cosine from -1 to 1; {AGAIN}")
    return max(-1.0, min(1.0, value))
