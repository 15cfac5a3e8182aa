"""``validity.json`` and ``superposition.csv``: what the vectors of a model are worth, and how alike they are."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from overnight.errors import StoreError
from overnight.store.files import read_json

AGAIN: Final = "extract the vectors again"
SHOWN_BELOW: Final = 0.05  # p
_ROUNDING: Final = 1e-4
Share = Annotated[float, Field(ge=0, le=1)]


class _Record(BaseModel):
    """A record of a file; a key that this version does not know is no fault."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class NullValue(_Record):
    """What chance gives of one statistic; None where undefined."""

    n: int
    mean: float | None = None
    p95: float | None = None  # what one in twenty reaches
    p: float | None = None  # (1 + those at least as high as what was found) / (1 + n)
    p_of_any_point: float | None = None  # the same for the highest over all points


class Nulls(_Record):
    """What chance gives of each statistic."""

    accuracy: NullValue | None = None
    cohens_d: NullValue | None = None
    auroc: NullValue | None = None


class HeldOut(_Record):
    """How well held-out texts are told apart; None where undefined."""

    accuracy: Share | None = None
    cohens_d: float | None = None
    auroc: Share | None = None


class PointValidity(_Record):
    """A vector at one point of the model."""

    point: str  # such as "12.residual_out"
    held_out: HeldOut
    permuted: Nulls | None = None  # of permuted labels
    random: Nulls | None = None  # of random directions
    undefined_because: str | None = None

    @property
    def null_mean(self) -> float | None:
        """The highest mean accuracy of chance; None where there is none."""
        return max((one.mean for one in self._accuracies() if one.mean is not None), default=None)

    @property
    def null_p95(self) -> float | None:
        """The accuracy that one in twenty reaches by chance, of the stricter null; None where there is none."""
        return max((one.p95 for one in self._accuracies() if one.p95 is not None), default=None)

    def _accuracies(self) -> list[NullValue]:
        return [
            one.accuracy
            for one in (self.permuted, self.random)
            if one is not None and one.accuracy is not None
        ]


class NestedValidity(_Record):
    """The whole procedure, the choice of the point included, on texts that neither has seen."""

    held_out: HeldOut
    chosen_by_fold: tuple[str | None, ...] = ()
    permuted: Nulls | None = None


class TraitValidity(_Record):
    """What the vector of a trait is worth."""

    trait: str
    method: str
    n_positive: int
    n_negative: int
    n_folds: int
    chosen: str  # the label of its point
    nested: NestedValidity | None = None
    points: tuple[PointValidity, ...]

    @model_validator(mode="after")
    def _knows_its_point(self) -> "TraitValidity":
        if not any(one.point == self.chosen for one in self.points):
            raise ValueError(f"the chosen point {self.chosen!r} is not among the points")
        return self

    @property
    def at_chosen(self) -> PointValidity:
        """The point that was chosen."""
        return next(one for one in self.points if one.point == self.chosen)

    @property
    def held_out(self) -> HeldOut:
        """On texts that the choice of the point has not seen either, where that was measured."""
        return self.nested.held_out if self.nested else self.at_chosen.held_out

    @property
    def p_permuted(self) -> float | None:
        """The p-value of the accuracy under permuted labels, with the choice of the point where that was measured."""
        if self.nested and self.nested.permuted and self.nested.permuted.accuracy:
            return self.nested.permuted.accuracy.p
        own = self.at_chosen.permuted.accuracy if self.at_chosen.permuted else None
        if own is None:
            return None
        return own.p if own.p_of_any_point is None else own.p_of_any_point

    @property
    def p_random(self) -> float | None:
        """The p-value of the accuracy at the chosen point among random directions."""
        own = self.at_chosen.random.accuracy if self.at_chosen.random else None
        return own.p if own else None

    @property
    def is_better_than_null(self) -> bool | None:
        """Whether every p-value that is known lies below .05; None where none is."""
        known = [p for p in (self.p_permuted, self.p_random) if p is not None]
        return all(p < SHOWN_BELOW for p in known) if known else None


class ModelValidity(_Record):
    """``validity.json``."""

    schema_version: Literal[1]
    traits: tuple[TraitValidity, ...]  # one for each trait and method; in the file by trait, then by method

    @field_validator("traits", mode="before")
    @classmethod
    def _of_all_methods(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and all(isinstance(one, Mapping) for one in value.values()):
            return [record for methods in value.values() for record in methods.values()]
        return value

    def of(self, trait: str) -> TraitValidity | None:
        """Return what is known of a trait's vector, by the first method of the file."""
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
