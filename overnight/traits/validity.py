"""Does the direction of a trait tell apart texts that it has not seen, better than chance?

Texts are held out by k-fold and not by one split: a set may have 15 pairs, of which one split would leave three to be
judged by; with folds every pair is judged once, by a direction that it had no part in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overnight.errors import UndefinedMetricError
from overnight.stats.rng import stream
from overnight.traits.folds import draw_folds, permute_labels
from overnight.traits.held_out import Folds, Tally, tally, tally_directions
from overnight.traits.labelled import Bools, Floats, Labelled
from overnight.traits.massive import massive_dimensions
from overnight.traits.methods import Method
from overnight.traits.strength import (
    Counts,
    Strengths,
    choose,
    cohens_d,
    compare,
    inner_strengths,
    strengths_at,
)
from overnight.traits.validity_record import HeldOut, NestedValidity, Nulls, PointValidity, TraitValidity

_STATES = 3  # [n, P, d]
_POWERS = np.array([[1], [2], [1], [2]])  # of the unit, in sums and sums of squares of either side


@dataclass(frozen=True, slots=True, kw_only=True)
class ValiditySettings:
    """How a trait is validated."""

    n_folds: int = 5
    n_permutations: int = 100
    n_random: int = 100
    seed: int = 0
    drop_massive: float | None = None
    nulls_everywhere: bool | None = None
    """Permuted labels at every point and through the choice of the point, or at the chosen point only; None: wherever
    that is cheap (`Method.is_fast`). Random directions are drawn at every point always."""


DEFAULTS = ValiditySettings()


def validate_trait(
    trait: str,
    points: Sequence[str],
    positive: NDArray[Any],
    negative: NDArray[Any],
    *,
    is_paired: bool,
    method: Method = Method.MEAN_DIFFERENCE,
    settings: ValiditySettings = DEFAULTS,
) -> TraitValidity:
    """Judge the directions of a trait at every point of a model, and choose a point.

    The choice is nested: the figure reported for the whole procedure is of texts that neither the direction nor the
    choice of its point has seen. With F folds, fold k is judged at the point at which the other folds, each held out
    in turn from the rest of them, are told apart best.

    Permuted labels are the same at all points, so that their highest value over the points is a null of the best.
    Which dimensions are massive is decided by all texts of a point, for which no label is needed.

    Args:
        trait: its name, which also names the random streams.
        points: P labels, each once.
        positive: ``[n, P, d]`` in any kind of float (a memory map is read a point at a time).
        negative: ``[m, P, d]``; where paired, row i belongs to row i.
        is_paired: whether the rows are pairs.
        method: by which directions are found.
        settings: how.

    Raises:
        UndefinedMetricError: there are too few texts, or there is a direction at no point.
        ValueError: the shapes do not agree, or a state is not finite.
    """
    _require_shapes(points, positive, negative)
    trials = _Trials(trait, method, settings)
    first = _rows(positive, negative, 0, is_paired=is_paired, drop_massive=None)
    folds = draw_folds(first, settings.n_folds, trials.rng("folds"))
    counts = Counts(
        positive=np.bincount(folds[first.is_positive]).astype(np.float64),
        negative=np.bincount(folds[~first.is_positive]).astype(np.float64),
    )
    truth = first.is_positive[np.newaxis]
    permuted = permute_labels(first, folds, settings.n_permutations, trials.rng("permuted labels"))
    is_everywhere = method.is_fast if settings.nulls_everywhere is None else settings.nulls_everywhere
    labels = np.concatenate([truth, permuted]) if is_everywhere else truth
    tallies, of_random = [], []
    for index in range(len(points)):
        rows = _rows(positive, negative, index, is_paired=is_paired, drop_massive=settings.drop_massive)
        tallies.append(trials.tally(rows, folds, labels))
        of_random.append(trials.of_random(rows, folds, counts))
    found = [strengths_at(each, counts) for each in tallies]
    accuracy = np.stack([each.accuracy for each in found])
    if not np.isfinite(accuracy[:, 0]).any():
        raise UndefinedMetricError(f"trait {trait!r}: at no point is there a direction by {method.value}")
    chosen = int(choose(accuracy[:, 0], np.stack([each.cohens_d for each in found])[:, 0]))
    at_chosen = None
    if not is_everywhere and settings.n_permutations:
        rows = _rows(positive, negative, chosen, is_paired=is_paired, drop_massive=settings.drop_massive)
        at_chosen = strengths_at(trials.tally(rows, folds, permuted, is_each_alone=True), counts)
    nulls = _nulls_by_point(found, is_everywhere=is_everywhere, chosen=chosen, at_chosen=at_chosen)
    return TraitValidity(
        trait=trait,
        method=method,
        is_paired=is_paired,
        n_positive=len(positive),
        n_negative=len(negative),
        n_folds=len(counts.positive),
        seed=settings.seed,
        drop_massive=settings.drop_massive,
        chosen=points[chosen],
        nested=_nested(tallies, counts, points),
        points=tuple(
            PointValidity(
                point=point,
                held_out=_held_out(found[index]),
                permuted=nulls[index],
                random=_nulls(found[index], of_random[index]),
                undefined_because=None
                if np.isfinite(accuracy[index, 0])
                else f"no direction by {method.value} without some of the folds: the two sides do not differ there",
            )
            for index, point in enumerate(points)
        ),
    )


@dataclass(frozen=True, slots=True)
class _Trials:
    trait: str
    method: Method
    settings: ValiditySettings

    def rng(self, use: str) -> np.random.Generator:
        """Return the stream of one use of chance; the method is not in its name, so that methods share folds."""
        return stream(self.settings.seed, "trait validity", self.trait, use)

    def tally(self, rows: Labelled, folds: Folds, labels: Bools, *, is_each_alone: bool = False) -> Tally:
        return tally(rows, folds, labels, self.method, seed=self.settings.seed, is_each_alone=is_each_alone)

    def of_random(self, rows: Labelled, folds: Folds, counts: Counts) -> Strengths | None:
        """Return what random directions do at a point: the same ones at all points of one width."""
        n = self.settings.n_random
        if not n:
            return None
        directions = self.rng("random directions").standard_normal((n, rows.states.shape[1]))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return strengths_at(tally_directions(rows, folds, directions), counts)


def _rows(
    positive: NDArray[Any], negative: NDArray[Any], index: int, *, is_paired: bool, drop_massive: float | None
) -> Labelled:
    rows = Labelled.of(positive[:, index], negative[:, index], is_paired=is_paired)
    if drop_massive is None:
        return rows
    kept = np.delete(rows.states, massive_dimensions(rows.states, drop_massive), axis=1)
    return Labelled(states=kept, is_positive=rows.is_positive, pair_of=rows.pair_of)


def _nested(tallies: Sequence[Tally], counts: Counts, points: Sequence[str]) -> NestedValidity:
    """Judge every fold at the point that the others choose, under every labelling.

    Projections of different points have different scales, so they are measured in the standard deviation that held-out
    texts of the choosing folds have at the point.
    """
    n_folds = len(counts.positive)
    n_labels = tallies[0].auroc.shape[-1]
    column = np.arange(n_labels)
    chosen = np.empty((n_folds, n_labels), dtype=np.int64)
    n_correct, wins = np.zeros(n_labels), np.zeros(n_labels)
    moments = np.zeros((4, n_labels))
    for k in range(n_folds):
        inner = [inner_strengths(each, counts, k) for each in tallies]
        accuracy, d, spread = (np.stack(each) for each in zip(*inner, strict=True))  # [P, B]
        chosen[k] = choose(accuracy, d)
        is_chosen = chosen[k] >= 0

        def own(values: Floats, k: int = k, is_chosen: Bools = is_chosen) -> Floats:
            found = values[chosen[k], column]
            return np.where(is_chosen if found.ndim == 1 else is_chosen[:, np.newaxis], found, np.nan)

        scale = own(spread)
        n_correct += own(np.stack([each.n_correct[k, k] for each in tallies]))
        wins += counts.positive[k] * counts.negative[k] * own(np.stack([each.auroc[k] for each in tallies]))
        own_moments = own(np.stack([np.moveaxis(each.moments[k, k], 0, -1) for each in tallies]))
        moments += own_moments.T / scale**_POWERS
    n_positive, n_negative = counts.positive.sum(), counts.negative.sum()
    found = Strengths(
        accuracy=n_correct / (n_positive + n_negative),
        cohens_d=cohens_d(moments, n_positive, n_negative)[0],
        auroc=wins / (counts.positive @ counts.negative),
    )
    return NestedValidity(
        held_out=_held_out(found),
        chosen_by_fold=tuple(points[index] if index >= 0 else None for index in chosen[:, 0]),
        permuted=_nulls(found, _without_truth(found)) if n_labels > 1 else None,
    )


def _nulls_by_point(
    found: Sequence[Strengths], *, is_everywhere: bool, chosen: int, at_chosen: Strengths | None
) -> list[Nulls | None]:
    if not is_everywhere:
        return [_nulls(each, at_chosen if index == chosen else None) for index, each in enumerate(found)]
    drawn = [_without_truth(each) for each in found]
    if not drawn[0].accuracy.size:
        return [None] * len(found)
    highest = Strengths(
        accuracy=_highest([each.accuracy for each in drawn]),
        cohens_d=_highest([each.cohens_d for each in drawn]),
        auroc=_highest([each.auroc for each in drawn]),
    )
    return [_nulls(each, own, highest) for each, own in zip(found, drawn, strict=True)]


def _highest(values: list[Floats]) -> Floats:
    """Return the highest value of each draw over the points; NaN where it is undefined at all of them."""
    return np.asarray(np.fmax.reduce(np.stack(values), axis=0))


def _without_truth(found: Strengths) -> Strengths:
    return Strengths(accuracy=found.accuracy[1:], cohens_d=found.cohens_d[1:], auroc=found.auroc[1:])


def _nulls(found: Strengths, null: Strengths | None, highest: Strengths | None = None) -> Nulls | None:
    if null is None:
        return None
    return Nulls(
        **{
            name: compare(
                float(getattr(found, name)[0]),
                getattr(null, name),
                None if highest is None else getattr(highest, name),
            )
            for name in ("accuracy", "cohens_d", "auroc")
        }
    )


def _held_out(found: Strengths) -> HeldOut:
    return HeldOut(
        **{
            name: float(value) if np.isfinite(value := getattr(found, name)[0]) else None
            for name in ("accuracy", "cohens_d", "auroc")
        }
    )


def _require_shapes(points: Sequence[str], positive: NDArray[Any], negative: NDArray[Any]) -> None:
    shapes = (positive.shape, negative.shape)
    if positive.ndim != _STATES or negative.ndim != _STATES or shapes[0][1:] != shapes[1][1:]:
        raise ValueError(f"states of shapes {shapes[0]} and {shapes[1]}; want [n, P, d] and [m, P, d]")
    if len(points) != shapes[0][1] or len(set(points)) < len(points):
        raise ValueError(
            f"{len(points)} points, {shapes[0][1]} states of each text; want one label for each, each once"
        )
