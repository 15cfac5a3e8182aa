"""What each selector keeps of a vector's draws, and what each baseline has in their place."""

from collections.abc import Callable
from functools import partial
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from overnight.best_of_k.baselines import Baseline, means_without_own, others, shuffled
from overnight.best_of_k.candidates import errors_of
from overnight.best_of_k.selectors import (
    Kept,
    Selector,
    by_agreement,
    by_error,
    by_score,
    cosine_agreement,
    medoid_agreement,
)
from overnight.best_of_k.sums import RecoverySums
from overnight.errors import UndefinedMetricError
from overnight.runs.scored_draws import ScoredDraws
from overnight.stats.pairs import FloatArray
from overnight.stats.rng import stream

# Of a vector, by its index and its row [D]: what there is to choose from, [n, D], and the chances to be kept.
Choose = Callable[[int, NDArray[np.float32]], tuple[NDArray[Any], Kept]]


def by_selector(scored: ScoredDraws, selector: Selector, seed: int) -> Choose:
    """Return how a selector chooses; that raises `UndefinedMetricError` for a vector where it cannot."""

    def choose(place: int, x: NDArray[np.float32]) -> tuple[NDArray[Any], Kept]:
        rows = scored.drawn.reconstructions(place)
        match selector:
            case Selector.ORACLE:
                return rows, by_error(errors_of(x, rows), scored.ks)
            case Selector.LOG_PROBABILITY:
                return rows, by_score(_logprobs(scored, place), scored.ks)
            case Selector.MEAN_LOG_PROBABILITY:
                n_tokens = scored.drawn.n_tokens[place]
                means = _logprobs(scored, place) / np.where(n_tokens > 0, n_tokens, np.nan)
                return rows, by_score(means, scored.ks)
            case Selector.SELF_CONSISTENCY:
                return rows, agree(place, cosine_agreement(rows))
            case Selector.MEDOID:
                return rows, agree(place, medoid_agreement(rows))
            case _:
                assert_never(selector)

    def agree(place: int, agreement: FloatArray) -> Kept:
        # By the key and not by the index: which sets are drawn does not depend on what else is in the run.
        rng = stream(seed, "best-of-k sets", selector.value, scored.vectors.vectors[place].key)
        return by_agreement(agreement, scored.ks, rng=rng)

    return choose


def by_baseline(scored: ScoredDraws, baseline: Baseline, sums: RecoverySums, seed: int) -> Choose:
    """Return what a baseline has for each vector, the best of it kept as the oracle keeps the best of its draws.

    Args:
        scored: the vectors.
        baseline: which one.
        sums: of the same vectors, for their means.
        seed: of the run.

    Raises:
        UndefinedMetricError: the vectors are of too few sources.
    """
    match baseline:
        case Baseline.MEAN_VECTOR:
            return _mean_vector(scored, sums)
        case Baseline.SHUFFLED:
            return _best_of(scored, _shuffled(scored, seed))
        case Baseline.OTHERS:
            return _best_of(scored, _others(scored, seed))
        case _:
            assert_never(baseline)


def _best_of(scored: ScoredDraws, rows_of: Callable[[int], NDArray[Any]]) -> Choose:
    def choose(place: int, x: NDArray[np.float32]) -> tuple[NDArray[Any], Kept]:
        rows = rows_of(place)
        return rows, by_error(errors_of(x, rows), scored.ks)

    return choose


def _mean_vector(scored: ScoredDraws, sums: RecoverySums) -> Choose:
    means = means_without_own(sums)
    number_of = {source: number for number, source in enumerate(sums.sources)}
    n_ks = len(scored.ks)
    only = Kept(weights=np.ones((n_ks, 1)), n_sets=(0,) * n_ks, is_exact=(True,) * n_ks)
    return lambda place, _: (means[number_of[scored.vectors.vectors[place].source]][np.newaxis], only)


def _shuffled(scored: ScoredDraws, seed: int) -> Callable[[int], NDArray[Any]]:
    donors = scored.places[shuffled(scored.sources, seed)]
    donor_of = dict(zip(scored.places.tolist(), donors.tolist(), strict=True))
    return lambda place: scored.drawn.reconstructions(donor_of[place])


def _others(scored: ScoredDraws, seed: int) -> Callable[[int], NDArray[Any]]:
    n_wanted = max(scored.ks)
    sources = np.unique(np.asarray(scored.sources, dtype=np.str_), return_inverse=True)[1]
    number_of = {place: number for number, place in enumerate(scored.places.tolist())}
    donors_of = partial(others, sources, n_draws=n_wanted, seed=seed)
    donors_of(0)  # says so where there is no other source

    def rows_of(place: int) -> NDArray[Any]:
        donors = scored.places[donors_of(number_of[place])].tolist()
        return np.stack([_draw(scored, donor, j) for j, donor in enumerate(donors)])

    return rows_of


def _draw(scored: ScoredDraws, vector: int, j: int) -> NDArray[np.float32]:
    """Return the reconstruction of the j-th draw that succeeded; each vector here has at least as many as K."""
    answered = scored.drawn.is_answered[vector]
    return scored.drawn.reconstruction(vector, j if answered.all() else int(np.flatnonzero(answered)[j]))


def _logprobs(scored: ScoredDraws, place: int) -> FloatArray:
    answered = scored.drawn.is_answered[place]
    found = np.where(answered, scored.drawn.logprobs[place], np.nan)
    if np.isnan(found[answered]).any():
        raise UndefinedMetricError("a text came without its log-probability")
    return np.asarray(found)
