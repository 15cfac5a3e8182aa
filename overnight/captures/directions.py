"""The directions that states are projected on: a vector for each trait, by groups of points."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from overnight.captures.tensor_file import TensorFile, open_tensors
from overnight.errors import StoreError

AGAIN: Final = "extract the vectors again"
_N_AXES: Final = {"directions": 3, "nulls": 4, "group_of_point": 1}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Directions:
    """V directions of width d in each of G groups, and which group each of P points has."""

    traits: tuple[str, ...]  # [V]
    points: tuple[str, ...]  # [P] labels such as "12.residual_out"
    vectors: NDArray[np.float32]  # [G, V, d]
    nulls: NDArray[np.float32] | None  # [G, V, N, d]
    group_of_point: NDArray[np.int64]  # [P]


def read_directions(path: Path) -> Directions:
    """Return the directions of a file.

    Raises:
        StoreError: it is missing, cut, or not such a file.
    """
    file = open_tensors(path)
    traits, points = _names(file, "traits"), _names(file, "points")
    absent = {"directions", "group_of_point"} - file.tensors.keys()
    if absent:
        raise _foreign(file, f"no tensor {min(absent)}", "directions and group_of_point")
    for name, facts in file.tensors.items():
        wanted = "I64" if name == "group_of_point" else "F32"
        if name not in _N_AXES or facts.dtype != wanted or len(facts.shape) != _N_AXES[name]:
            raise _foreign(file, f"tensor {name} {facts.dtype} {list(facts.shape)}", "tensors of directions")
    found = Directions(
        traits=traits,
        points=points,
        vectors=file.read("directions"),
        nulls=file.read("nulls") if "nulls" in file.tensors else None,
        group_of_point=file.read("group_of_point"),
    )
    n_groups, n_traits, width = found.vectors.shape
    if n_traits != len(traits) or found.group_of_point.shape != (len(points),):
        raise _foreign(
            file,
            f"{n_traits} vectors a group, {found.group_of_point.size} points",
            f"{len(traits)} and {len(points)}, as its lists of traits and points say",
        )
    if ((found.group_of_point < 0) | (found.group_of_point >= n_groups)).any():
        raise _foreign(file, "a point of no group", f"groups from 0 to {n_groups - 1}")
    if found.nulls is not None and (*found.nulls.shape[:2], found.nulls.shape[3]) != (
        n_groups,
        n_traits,
        width,
    ):
        raise _foreign(
            file,
            f"nulls {list(found.nulls.shape)}",
            f"[{n_groups}, {n_traits}, any, {width}] as the directions",
        )
    return found


def _names(file: TensorFile, key: str) -> tuple[str, ...]:
    text = file.metadata.get(key, "")
    try:
        values: Any = json.loads(text)
    except json.JSONDecodeError:
        values = None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _foreign(file, f"{key} {text[:200]!r}", "a list of names in JSON")
    return tuple(values)


def _foreign(file: TensorFile, found: str, wanted: str) -> StoreError:
    return StoreError(f"{file.path}: {found}, wanted {wanted}; {AGAIN}")
