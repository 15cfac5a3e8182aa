"""The file of directions that states are projected on while a model reads."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from overnight.errors import UndefinedMetricError
from overnight.stats.rng import stream
from overnight.store.files import atomic_bytes
from overnight.traits.folds import permute_labels
from overnight.traits.labelled import Labelled
from overnight.traits.methods import Method, find

SCHEMA_VERSION = 1
_STATES = 3  # [n, P, d]


class Applied(StrEnum):
    """Which direction a point is projected on."""

    ONE = "one"  # that of the trait's chosen point, at all points: one quantity, followed through the model
    PER_POINT = "per_layer"  # its own: at every point what separates the texts best there


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TraitDirections:
    """The directions of one trait at the points where it was extracted."""

    trait: str
    points: tuple[str, ...]
    directions: NDArray[np.float32]  # [P, d]; NaN where there is none
    chosen: str  # one of the points
    nulls: NDArray[np.float32] | None = None  # [P, N, d] of permuted labels


def directions_at(
    points: Sequence[str],
    positive: NDArray[Any],
    negative: NDArray[Any],
    *,
    is_paired: bool,
    method: Method,
    seed: int,
    drop_massive: float | None = None,
) -> tuple[NDArray[np.float32], dict[str, str]]:
    """Return the direction of a trait at every point, from all of its texts.

    Args:
        points: P labels.
        positive: ``[n, P, d]``.
        negative: ``[m, P, d]``.
        is_paired: whether the rows are pairs.
        method: by which directions are found.
        seed: of the method.
        drop_massive: as in `direction`.

    Returns:
        ``[P, d]``, of length one, NaN where there is none; and why there is none, by point.

    Raises:
        ValueError: the shapes do not agree, or a state is not finite.
    """
    n_points, d = _shape(positive, negative)
    if n_points != len(points):
        raise ValueError(f"{len(points)} points, {n_points} states of each text")
    found, undefined = np.full((n_points, d), np.nan, dtype=np.float32), {}
    for index, point in enumerate(points):
        rows = Labelled.of(positive[:, index], negative[:, index], is_paired=is_paired)
        try:
            found[index] = find(method, rows, rows.is_positive, seed=seed, drop_massive=drop_massive)
        except UndefinedMetricError as reason:
            undefined[point] = str(reason)
    return found, undefined


def null_directions(
    trait: str,
    positive: NDArray[Any],
    negative: NDArray[Any],
    n_nulls: int,
    *,
    is_paired: bool,
    method: Method,
    seed: int,
    drop_massive: float | None = None,
) -> NDArray[np.float32]:
    """Return directions that labels without meaning give at every point.

    The same labels at every point, and every direction found anew by the method that the trait's own was found by.

    Args:
        trait: its name, which also names the random stream.
        positive: ``[n, P, d]``.
        negative: ``[m, P, d]``.
        n_nulls: how many; a standard deviation takes two.
        is_paired: whether the rows are pairs; labels are exchanged within these.
        method: by which directions are found.
        seed: of the labels.
        drop_massive: as in `direction`.

    Returns:
        ``[P, N, d]``, of length one; NaN where there is none.

    Raises:
        ValueError: the shapes do not agree, or a state is not finite.
    """
    n_points, d = _shape(positive, negative)
    found = np.full((n_points, n_nulls, d), np.nan, dtype=np.float32)
    labels: NDArray[np.bool_] | None = None
    for index in range(n_points):
        rows = Labelled.of(positive[:, index], negative[:, index], is_paired=is_paired)
        if labels is None:
            one_fold = np.zeros(len(rows.states), dtype=np.int64)
            labels = permute_labels(rows, one_fold, n_nulls, stream(seed, "trait nulls", trait, "labels"))
        for null, is_positive in enumerate(labels):
            with contextlib.suppress(UndefinedMetricError):
                found[index, null] = find(method, rows, is_positive, seed=seed, drop_massive=drop_massive)
    return found


def write_directions(
    path: Path, traits: Sequence[TraitDirections], projected: Sequence[str], *, applied: Applied
) -> None:
    """Write the directions that some points are projected on, as safetensors.

    Tensors: ``directions`` f32 ``[G, V, d]``, ``nulls`` f32 ``[G, V, N, d]`` where every trait has nulls, and
    ``group_of_point`` i64 ``[P]``. With `Applied.ONE` there is one group. A direction that there is none of is zero,
    on which nothing projects: its projections are undefined.

    Raises:
        ValueError: no traits or points, a name or a point twice, a point at which a trait was not extracted, or shapes
            that do not agree.
    """
    _require_agreement(traits, projected, applied)
    groups: list[Mapping[str, str]] = (
        [{each.trait: each.chosen for each in traits}]
        if applied is Applied.ONE
        else [{each.trait: point for each in traits} for point in projected]
    )
    places = [[each.points.index(group[each.trait]) for each in traits] for group in groups]
    tensors: dict[str, NDArray[Any]] = {
        "directions": _stacked(
            [[each.directions[at] for each, at in zip(traits, row, strict=True)] for row in places]
        ),
        "group_of_point": np.zeros(len(projected), dtype=np.int64)
        if applied is Applied.ONE
        else np.arange(len(projected), dtype=np.int64),
    }
    if all(each.nulls is not None for each in traits):
        tensors["nulls"] = _stacked(
            [
                [each.nulls[at] for each, at in zip(traits, row, strict=True) if each.nulls is not None]
                for row in places
            ]
        )
    metadata = {
        "schema_version": str(SCHEMA_VERSION),
        "traits": json.dumps([each.trait for each in traits]),
        "points": json.dumps(list(projected)),
        "applied": applied.value,
        "chosen": json.dumps({each.trait: each.chosen for each in traits}),
    }
    with atomic_bytes(path) as file:
        file.write(save(tensors, metadata))


def _shape(positive: NDArray[Any], negative: NDArray[Any]) -> tuple[int, int]:
    if positive.ndim != _STATES or negative.ndim != _STATES or positive.shape[1:] != negative.shape[1:]:
        raise ValueError(
            f"states of shapes {positive.shape} and {negative.shape}; want [n, P, d] and [m, P, d]"
        )
    return positive.shape[1], positive.shape[2]


def _stacked(groups: list[list[NDArray[np.float32]]]) -> NDArray[np.float32]:
    found = np.ascontiguousarray(np.stack([np.stack(group) for group in groups]), dtype=np.float32)
    return np.where(np.isfinite(found).all(axis=-1, keepdims=True), found, np.float32(0))


def _require_agreement(traits: Sequence[TraitDirections], projected: Sequence[str], applied: Applied) -> None:
    if not traits or not projected:
        raise ValueError(f"{len(traits)} traits and {len(projected)} points; want at least one of each")
    for names, what in (([each.trait for each in traits], "trait"), (list(projected), "point")):
        if len(set(names)) < len(names):
            raise ValueError(f"a {what} stands twice in {names}")
    for each in traits:
        wanted = [each.chosen] if applied is Applied.ONE else list(projected)
        if missing := [point for point in wanted if point not in each.points]:
            raise ValueError(f"trait {each.trait!r} was not extracted at {', '.join(missing)}")
        if each.directions.shape[0] != len(each.points):
            raise ValueError(
                f"trait {each.trait!r}: {len(each.points)} points, {each.directions.shape[0]} directions"
            )
    if len({each.directions.shape[1:] for each in traits}) > 1:
        raise ValueError("directions of different lengths; they are of different models")
    if len({None if each.nulls is None else each.nulls.shape[1:] for each in traits}) > 1:
        raise ValueError("some traits have other nulls than others; draw as many for each")
