"""Projecting stored states on other vectors: no model, the same numbers as its host gives."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overnight.captures.directions import Directions
from overnight.captures.prompt import CapturedPrompt
from overnight.errors import UsageError

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reprojection:
    """The stored states of T tokens at P points, projected on V traits; NaN where a value is undefined."""

    points: tuple[str, ...]  # [P]
    traits: tuple[str, ...]  # [V]
    projections: Floats  # [T, P, V]
    z: Floats | None  # [T, P, V]; None: the directions have no null ones
    norms: Floats  # [T, P]


def reproject(prompt: CapturedPrompt, directions: Directions) -> Reprojection:
    """Return the projections of a prompt's stored states, at those points of the directions where states are stored.

    ``a . v / |v|`` in float32; NaN where ``|v|`` is 0 or not finite. ``z`` is the projection less the mean of the
    projections on the null directions, over their standard deviation (n - 1); NaN where that is 0, or N < 2.

    Raises:
        UsageError: no states are stored at any of the points, or the vectors are of another width.
    """
    stored = set(prompt.raw_points)
    places = [place for place, point in enumerate(directions.points) if point in stored]
    if not places:
        raise UsageError(
            f"{prompt.file.path}: states are stored at {', '.join(sorted(stored)) or 'no point'}, the directions "
            f"are for {', '.join(directions.points)}; store raw states at one of these and capture again"
        )
    projections, zs, norms = [], [], []
    for place in places:
        point, group = directions.points[place], int(directions.group_of_point[place])
        states = prompt.raw(point)
        vectors = directions.vectors[group]
        if states.shape[1] != vectors.shape[1]:
            raise UsageError(
                f"{prompt.file.path}: states at {point} are {states.shape[1]} wide, the directions {vectors.shape[1]}; "
                "these vectors are likely of another model"
            )
        projected = project(states, vectors)
        projections.append(projected)
        norms.append(_known(np.linalg.norm(states, axis=1)))
        if directions.nulls is not None:
            zs.append(standardised(projected, states, directions.nulls[group]))
    return Reprojection(
        points=tuple(directions.points[place] for place in places),
        traits=directions.traits,
        projections=np.stack(projections, axis=1),
        z=np.stack(zs, axis=1) if directions.nulls is not None else None,
        norms=np.stack(norms, axis=1),
    )


def project(states: Floats, vectors: Floats) -> Floats:
    """Return the scalar projections ``[T, V]`` of states ``[T, d]`` on vectors ``[V, d]``, in float32.

    NaN where a vector has no length, or one that is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        # The length in float64: in float32 the squares of long vectors overflow.
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
        is_sound = np.isfinite(lengths) & (lengths > 0)
        units = vectors / np.where(is_sound, lengths, 1.0)[:, None]
        found = states @ units.astype(np.float32).T
    return _known(np.where(is_sound, found, np.nan))


def standardised(projected: Floats, states: Floats, nulls: Floats) -> Floats:
    """Return ``z`` ``[T, V]`` of projections against those on null directions ``[V, N, d]``."""
    found = np.full_like(projected, np.nan)
    n_nulls = nulls.shape[1]
    if n_nulls < 2:  # noqa: PLR2004 - one value has no spread
        return found
    for number, of_trait in enumerate(nulls):
        null = project(states, of_trait)
        spread = null.std(axis=1, ddof=1)
        mean = null.mean(axis=1)
        # Equal projections may differ in the last digit once a mean is taken off.
        is_flat = null.max(axis=1) == null.min(axis=1)
        found[:, number] = np.where(
            is_flat | ~(spread > 0), np.nan, (projected[:, number] - mean) / np.where(spread > 0, spread, 1)
        )
    return _known(found)


def _known(values: NDArray[np.floating[Any]]) -> Floats:
    return np.where(np.isfinite(values), values, np.nan).astype(np.float32)
