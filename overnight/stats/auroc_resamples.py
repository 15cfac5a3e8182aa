"""Bootstrap resamples of AUROC."""

from collections.abc import Sequence

import numpy as np

from overnight.errors import UndefinedMetricError
from overnight.stats.clustered import IntArray, resampled_counts
from overnight.stats.clusters import Codes
from overnight.stats.pairs import FloatArray
from overnight.stats.ranking import ranked_arm
from overnight.stats.resampling import chunks
from overnight.stats.scored_items import ScoredItems


def stratified_aurocs(items: ScoredItems, *, n_resamples: int, rng: np.random.Generator) -> FloatArray:
    """Return ``[R]`` AUROCs of resamples that draw the wrong answers and the right ones apart.

    Both classes keep their numbers, so every resample has an AUROC.

    Raises:
        UndefinedMetricError: a class is empty.
    """
    right = np.sort(items.uncertainty[~items.is_wrong])
    wrong = np.sort(items.uncertainty[items.is_wrong])
    n_right, n_wrong = len(right), len(wrong)
    if not n_right or not n_wrong:
        raise UndefinedMetricError(f"{n_right} right and {n_wrong} wrong answers: nothing to resample")
    first, last = np.searchsorted(right, wrong, side="left"), np.searchsorted(right, wrong, side="right")
    shares = np.empty(n_resamples)
    for part in chunks(n_resamples, n_right + n_wrong):
        n_rows = part.stop - part.start
        below = np.zeros((n_rows, n_right + 1))
        np.cumsum(_draws(n_rows, n_right, rng), axis=1, out=below[:, 1:])
        times = _draws(n_rows, n_wrong, rng)
        won = np.einsum("rw,rw->r", times, below[:, first] + below[:, last]) / 2.0
        shares[part] = won / (n_right * n_wrong)
    return shares


def paired_aurocs(
    both: Sequence[ScoredItems],
    *,
    n_resamples: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Return ``[K, R]`` AUROCs of K rankings of the same N items, each with its own labels, resampled together.

    Labels differ between the rankings, so no class can keep its number; a resample that has one class only
    is NaN. Where items come in clusters, whole clusters are drawn.

    Args:
        both: with the same keys, in the same clusters.
        n_resamples: number of resamples.
        rng: moved by the draws.

    Raises:
        UndefinedMetricError: there are no items.
        ValueError: the items or their clusters differ.
    """
    keys, clusters = both[0].keys, both[0].clusters
    if any(items.keys != keys or not _are_alike(items.clusters, clusters) for items in both):
        raise ValueError("rankings of different items or clusters cannot be resampled together")
    everything = np.ones(len(keys), dtype=np.bool_)
    arms = [ranked_arm(-items.uncertainty, items.correctness, everything) for items in both]
    of_each = np.arange(len(keys)) if clusters is None else clusters.astype(np.int64)
    parts = [
        np.stack([arm.auroc(counts) for arm in arms])
        for counts in resampled_counts(of_each, n_resamples, rng)
    ]
    return np.concatenate(parts, axis=1)


def _are_alike(one: Codes | None, other: Codes | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)


def _draws(n_rows: int, n: int, rng: np.random.Generator) -> IntArray:
    """Return ``[n_rows, n]``: how often each of n answers is among n draws with replacement."""
    drawn = rng.integers(n, size=(n_rows, n))
    drawn += np.arange(n_rows)[:, np.newaxis] * n
    return np.bincount(drawn.ravel(), minlength=n_rows * n).reshape(n_rows, n)
