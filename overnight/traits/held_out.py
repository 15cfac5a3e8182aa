"""How texts project that had no part in a direction, at one point, under many labels at once.

Letters of shapes: N texts, d dimensions, F folds, B labellings (the first is the true one).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overnight.errors import UndefinedMetricError
from overnight.traits.labelled import Bools, Floats, Labelled
from overnight.traits.methods import Method, find

# Of the mean square length of a state: below it a mean difference is rounding, as `methods` has it for lengths.
_ROUNDING_SQUARED = 1e-12
Folds = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tally:
    """Sums over held-out texts, from which accuracy and Cohen's d of any union of folds follow.

    Every array has the folds that were held out together in front: ``[k, j]`` is about fold j, as a direction sees it
    that was trained on all folds but j and k. NaN where there was no direction.
    """

    n_correct: Floats  # [F, F, B]; a text on the midpoint counts one half
    moments: (
        Floats  # [F, F, 4, B] of projections less the midpoint: positive sum, squares; negative sum, squares
    )
    auroc: Floats  # [F, B] of each fold by itself, held out alone

    @classmethod
    def empty(cls, n_folds: int, n_labels: int) -> "Tally":
        """Return one in which nothing is known."""
        return cls(
            n_correct=np.full((n_folds, n_folds, n_labels), np.nan),
            moments=np.full((n_folds, n_folds, 4, n_labels), np.nan),
            auroc=np.full((n_folds, n_labels), np.nan),
        )

    def note(self, k: int, j: int, scores: Floats, is_positive: Bools) -> None:
        """Add fold j, held out with fold k: ``[n, B]`` projections less the midpoint and labels."""
        is_known = np.isfinite(scores).all(axis=0)
        right = np.where(is_positive, scores > 0, scores < 0) + 0.5 * (scores == 0)
        self.n_correct[k, j] = np.where(is_known, right.sum(axis=0), np.nan)
        sides = scores * is_positive, scores * ~is_positive
        self.moments[k, j] = [part.sum(axis=0) for own in sides for part in (own, own * scores)]
        if k == j:
            self.auroc[k] = _aurocs(scores, is_positive)


def tally(
    rows: Labelled, folds: Folds, labels: Bools, method: Method, *, seed: int, is_each_alone: bool = False
) -> Tally:
    """Find directions with every pair of folds left out, and tally how the texts of these project.

    Args:
        rows: at one point.
        folds: ``[N]``.
        labels: ``[B, N]``.
        method: by which directions are found.
        seed: of the method.
        is_each_alone: leave out every fold by itself only; then just ``[k, k]`` is known.
    """
    n_folds, y = int(folds.max()) + 1, labels.T
    found = Tally.empty(n_folds, y.shape[1])
    left_out = [(k, j) for k in range(n_folds) for j in range(k, n_folds) if k == j or not is_each_alone]
    projections = (
        _mean_difference_projections(rows.states, folds, y, left_out)
        if method is Method.MEAN_DIFFERENCE
        else _projections(rows, folds, y, left_out, method, seed)
    )
    for k, j, scores in projections:
        for one, other in {(k, j), (j, k)}:
            inside = folds == other
            found.note(one, other, scores[inside], y[inside])
    return found


def tally_directions(rows: Labelled, folds: Folds, directions: Floats) -> Tally:
    """Tally directions ``[R, d]`` that were not found but given; training only says which way round, and the midpoint.

    Only ``[k, k]`` is known of it.
    """
    n_folds, y = int(folds.max()) + 1, rows.is_positive[:, np.newaxis]
    found = Tally.empty(n_folds, len(directions))
    raw = rows.states @ directions.T
    for k in range(n_folds):
        high, low = raw[(folds != k) & y[:, 0]].mean(axis=0), raw[(folds != k) & ~y[:, 0]].mean(axis=0)
        scores = np.sign(high - low) * (raw - (high + low) / 2)
        inside = folds == k
        found.note(k, k, scores[inside], np.repeat(y[inside], len(directions), axis=1))
    return found


def _mean_difference_projections(
    states: Floats, folds: Folds, y: Bools, left_out: list[tuple[int, int]]
) -> Iterator[tuple[int, int, Floats]]:
    """Yield ``k, j`` and ``[N, B]`` projections less the midpoint.

    The direction is a sum of states, so all of it is in the products of states with states: one matrix product serves
    all folds and all labels.
    """
    n_folds = int(folds.max()) + 1
    centred = states - states.mean(axis=0)  # moves projections and their midpoint alike
    products = centred @ centred.T
    rounding = _ROUNDING_SQUARED * float(np.mean(np.einsum("nd,nd->n", states, states)))
    counted = y.astype(np.float64)
    inside = [folds == fold for fold in range(n_folds)]
    of_positive = np.stack([products[:, own] @ counted[own] for own in inside])  # [F, N, B]
    of_all = np.stack([products[:, own].sum(axis=1) for own in inside])  # [F, N]
    for k, j in left_out:
        is_kept = ~(inside[k] | inside[j])
        rest = [fold for fold in range(n_folds) if fold not in {k, j}]
        positive = counted * is_kept[:, np.newaxis]
        n_positive = positive.sum(axis=0)
        n_negative = is_kept.sum() - n_positive
        from_positive = of_positive[rest].sum(axis=0)
        raw = (
            from_positive / n_positive
            - (of_all[rest].sum(axis=0)[:, np.newaxis] - from_positive) / n_negative
        )
        total = raw[is_kept].sum(axis=0)
        own = np.einsum("nb,nb->b", positive, raw)
        high, low = own / n_positive, (total - own) / n_negative
        square = high - low  # of the difference's length: the difference, projected on itself
        length = np.sqrt(np.where(square > rounding, square, np.nan))
        yield k, j, (raw - (high + low) / 2) / length


def _projections(
    rows: Labelled, folds: Folds, y: Bools, left_out: list[tuple[int, int]], method: Method, seed: int
) -> Iterator[tuple[int, int, Floats]]:
    """Yield the same for any method, one direction after the other."""
    for k, j in left_out:
        kept = np.flatnonzero((folds != k) & (folds != j))
        train = Labelled(
            states=rows.states[kept],
            is_positive=rows.is_positive[kept],
            pair_of=rows.pair_of[kept] if rows.pair_of.size else rows.pair_of,
        )
        scores = np.full(y.shape, np.nan)
        for b in range(y.shape[1]):
            is_positive = y[kept, b]
            try:
                way = find(method, train, is_positive, seed=seed, drop_massive=None)
            except UndefinedMetricError:
                continue
            raw = rows.states @ way
            scores[:, b] = raw - (raw[kept][is_positive].mean() + raw[kept][~is_positive].mean()) / 2
        yield k, j, scores


def _aurocs(scores: Floats, is_positive: Bools) -> Floats:
    """Return ``[B]`` how often a positive text projects higher than a negative one; a tie counts one half."""
    from scipy.stats import rankdata  # noqa: PLC0415 - seconds, which every run would wait for at its start

    n_positive = is_positive.sum(axis=0)
    n_negative = len(is_positive) - n_positive
    ranks = rankdata(scores, axis=0, nan_policy="propagate")
    above = (ranks * is_positive).sum(axis=0) - n_positive * (n_positive + 1) / 2
    both = n_positive * n_negative
    return np.where(both > 0, above / np.maximum(both, 1), np.nan)
