"""How far the directions of traits are the same direction."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overnight.store.files import atomic_writer
from overnight.traits.labelled import Floats


def superposition(directions: NDArray[Any]) -> Floats:
    """Return the cosines of ``[..., V, d]`` directions with each other, ``[..., V, V]``.

    NaN in the row and the column of a direction that is zero or not finite; elsewhere 1 on the diagonal, in [-1, 1]
    and the same both ways round.
    """
    wide = directions.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=-1, keepdims=True)
    is_known = np.isfinite(lengths) & (lengths > 0)
    unit = np.divide(wide, lengths, out=np.full_like(wide, np.nan), where=is_known)
    cosines = np.clip(unit @ np.swapaxes(unit, -1, -2), -1.0, 1.0)
    n_traits = wide.shape[-2]
    each = np.arange(n_traits)
    cosines[..., each, each] = np.where(is_known[..., 0], 1.0, np.nan)
    return np.asarray(cosines)


def write_superposition(path: Path, traits: Sequence[str], directions: NDArray[Any]) -> None:
    """Write ``superposition.csv``: a row and a column for each trait, empty where a cosine is undefined.

    Args:
        path: of the file.
        traits: V names.
        directions: ``[V, d]``.
    """
    cosines = superposition(directions)
    with atomic_writer(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["trait", *traits])
        for trait, row in zip(traits, cosines, strict=True):
            rows.writerow([trait, *(f"{value:.6f}" if np.isfinite(value) else "" for value in row)])
