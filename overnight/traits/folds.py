"""Who is held out with whom, and labels that mean nothing."""

import numpy as np
from numpy.typing import NDArray

from overnight.errors import UndefinedMetricError
from overnight.traits.labelled import Bools, Labelled

_FEWEST_FOLDS = 3  # a point is chosen within the folds that train: one less than there are, and two at least


def draw_folds(rows: Labelled, n_folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the fold of every row; a pair is never parted, and sides are spread evenly.

    A pair shares its scenario. With one text of it in training, the other would be recognised by what it is about.

    Returns:
        ``[N]`` of 0 .. F - 1; F is ``n_folds``, or the number of pairs (of texts on the smaller side) where that is
        less.

    Raises:
        UndefinedMetricError: fewer than 3 pairs, or fewer than 3 texts on a side.
        ValueError: ``n_folds`` is below 3.
    """
    if n_folds < _FEWEST_FOLDS:
        raise ValueError(f"n_folds={n_folds}; want at least {_FEWEST_FOLDS}")
    n_positive, n_negative = int(rows.is_positive.sum()), int((~rows.is_positive).sum())
    n_units = min(n_positive, n_negative)
    if n_units < _FEWEST_FOLDS:
        raise UndefinedMetricError(
            f"{n_positive} positive and {n_negative} negative texts; to hold some out takes {_FEWEST_FOLDS} of each"
        )
    n_used = min(n_folds, n_units)
    if rows.pair_of.size:
        return (rng.permutation(n_units) % n_used)[rows.pair_of]
    folds = np.empty(len(rows.states), dtype=np.int64)
    folds[rows.is_positive] = rng.permutation(n_positive) % n_used
    # The other way round, so that folds which get one more of these are those that got one less of the others.
    folds[~rows.is_positive] = n_used - 1 - rng.permutation(n_negative) % n_used
    return folds


def permute_labels(
    rows: Labelled, folds: NDArray[np.int64], n_permutations: int, rng: np.random.Generator
) -> Bools:
    """Return labels as they could as well have been, if texts did not differ in the trait.

    The two texts of a pair exchange theirs or do not; texts without pairs exchange theirs within a fold, which keeps
    every fold as balanced as it is.

    Returns:
        ``[n_permutations, N]``; True is positive.
    """
    if rows.pair_of.size:
        n_pairs = len(rows.states) // 2
        is_exchanged = rng.integers(2, size=(n_permutations, n_pairs)).astype(np.bool_)
        return np.asarray(rows.is_positive ^ is_exchanged[:, rows.pair_of])
    labels = np.tile(rows.is_positive, (n_permutations, 1))
    for fold in range(int(folds.max()) + 1):
        inside = np.flatnonzero(folds == fold)
        labels[:, inside] = rng.permuted(labels[:, inside], axis=1)
    return labels
