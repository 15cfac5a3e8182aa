"""What is kept of a trait's validity: ``validity.json``."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from overnight.store.files import write_json
from overnight.traits.methods import Method
from overnight.traits.strength import Null

SCHEMA_VERSION = 1
DEFINITIONS = {
    "held_out": "texts that had no part in the direction: k-fold, a pair never parted",
    "accuracy": "share of held-out texts on their own side of the midpoint between the training means; chance is .5",
    "cohens_d": "difference of the two sides' held-out projections (each less its midpoint) over their pooled "
    "standard deviation",
    "auroc": "how often a positive held-out text projects higher than a negative one of the same fold",
    "permuted": "the same with labels exchanged at random (within pairs where there are pairs), directions found anew",
    "random": "the same of random directions, turned round by the training texts",
    "p": "(1 + draws of chance at least as high) / (1 + draws)",
    "p_of_any_point": "the same for the highest value of each draw over all points",
    "nested": "every fold is judged at the point that the other folds chose, so that what is reported was not "
    "selected by itself; its permuted labels choose their points in the same way",
    "chosen": "the point with the highest held-out accuracy, then the largest d, of all folds; its own figures under "
    "`points` were selected by themselves and are too good, those under `nested` are not",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """How well held-out texts are told apart; None where undefined."""

    accuracy: float | None  # [0, 1]
    cohens_d: float | None  # in standard deviations; positive where the direction points the right way
    auroc: float | None  # [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nulls:
    """What chance gives of each statistic."""

    accuracy: Null
    cohens_d: Null
    auroc: Null


@dataclass(frozen=True, slots=True, kw_only=True)
class PointValidity:
    """One point of the model."""

    point: str
    held_out: HeldOut
    permuted: Nulls | None = None  # None: not drawn at this point
    random: Nulls | None = None
    undefined_because: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedValidity:
    """The whole procedure, the choice of the point included."""

    held_out: HeldOut
    chosen_by_fold: tuple[str | None, ...]
    permuted: Nulls | None = None  # None: not drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class TraitValidity:
    """Whether the directions of a trait mean anything, point by point."""

    trait: str
    method: Method
    is_paired: bool
    n_positive: int
    n_negative: int
    n_folds: int
    seed: int
    drop_massive: float | None
    chosen: str
    nested: NestedValidity
    points: tuple[PointValidity, ...]

    def at(self, point: str) -> PointValidity:
        """Return what was found at a point."""
        return next(each for each in self.points if each.point == point)


def as_json(found: TraitValidity) -> dict[str, Any]:
    """Return plain values; ``chosen`` is taken apart as well."""
    layer, _, component = found.chosen.partition(".")
    return asdict(found) | {"chosen_layer": int(layer), "chosen_component": component}


def write_validity(path: Path, found: Iterable[TraitValidity]) -> None:
    """Write ``validity.json``: strict JSON, a key per trait and method; what is undefined is null.

    Raises:
        ValueError: two are of the same trait and method.
    """
    traits: dict[str, dict[str, Any]] = {}
    for each in found:
        methods = traits.setdefault(each.trait, {})
        if each.method.value in methods:
            raise ValueError(f"trait {each.trait!r} twice by {each.method.value}")
        methods[each.method.value] = as_json(each)
    write_json(path, {"schema_version": SCHEMA_VERSION, "definitions": DEFINITIONS, "traits": traits})
