"""Measures of recovery of a sample: its sums put together, whole or resampled."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from overnight.best_of_k.definitions import DEFINITIONS, Measure, Totals
from overnight.best_of_k.sums import RecoverySums
from overnight.errors import UndefinedMetricError
from overnight.stats.pairs import FloatArray

_NOTHING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionRSquared:
    """R-squared of every dimension by itself."""

    by_dimension: tuple[float | None, ...]  # D, at most 1, higher is better; None where x does not vary
    mean: float  # over the dimensions that vary, each counting alike
    n_undefined: int


def recovery(sums: RecoverySums, k: int, measure: Measure) -> float:
    """Return a measure where the best of ``k`` draws is kept.

    Raises:
        UndefinedMetricError: it has no value for these vectors.
        ValueError: the sums are not of ``k`` draws.
    """
    value = float(DEFINITIONS[measure].of(totals(sums, k))) if sums.n_vectors else np.nan
    if not np.isfinite(value):
        raise UndefinedMetricError(why_undefined(sums, measure))
    return value


def why_undefined(sums: RecoverySums, measure: Measure) -> str:
    """Return why a measure has no value for these vectors."""
    short = f" ({sums.n_short} left out, with too few draws)" if sums.n_short else ""
    if not sums.n_vectors:
        return f"there is no vector{short}"
    return f"{DEFINITIONS[measure].undefined_where}: {sums.n_vectors} vectors{short}"


def r_squared_by_dimension(sums: RecoverySums, k: int) -> DimensionRSquared:
    """Return 1 - sum_i r_id^2 / sum_i (x_id - mean_d)^2 for every d, and the mean of them.

    The mean lets a dimension of little spread count as much as one of much; weighted by spread instead, it would be
    1 - `normalised_mse`.

    Raises:
        UndefinedMetricError: no dimension varies.
        ValueError: the sums are not of ``k`` draws.

    Source:
        Coefficient of determination, as scikit-learn's ``r2_score`` with ``multioutput='raw_values'``.
    """
    at = _place(sums, k)
    squares = sums.x_squares_by_dimension
    spread = squares - np.square(sums.x.sum(axis=0)) / max(sums.n_vectors, 1)
    varies = spread > _NOTHING * squares
    if not varies.any():
        raise UndefinedMetricError(f"no dimension of {sums.n_vectors} vectors varies")
    found = 1.0 - sums.residual_squares_by_dimension[at][varies] / spread[varies]
    of_each: list[float | None] = [None] * sums.n_dimensions
    for dimension, value in zip(np.flatnonzero(varies), found, strict=True):
        of_each[dimension] = float(value)
    return DimensionRSquared(
        by_dimension=tuple(of_each), mean=float(found.mean()), n_undefined=int((~varies).sum())
    )


Over = Callable[[FloatArray], FloatArray]  # adds up what is by source, [C] or [C, D], to [...] or [..., D]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spread:
    """What `Totals` have of the vectors alone, whatever the number of draws; ``[...]`` each."""

    over: Over
    n: FloatArray
    x_squares: FloatArray
    x_sum_squares: FloatArray
    x_grand_squares: FloatArray
    n_cosine: FloatArray


def totals(sums: RecoverySums, k: int) -> Totals:
    """Return the sums over all vectors.

    Raises:
        ValueError: the sums are not of ``k`` draws.
    """
    return totals_at(sums, k, spread(sums, lambda values: values.sum(axis=0)))


def resampled(sums: RecoverySums, times: FloatArray) -> Spread:
    """Return what R samples are, in which each of C sources is ``[R, C]`` times; takes R x C x D products.

    A copy of a vector has draws of its own, as another vector would.
    """
    return spread(sums, lambda values: times @ values)


def left_out(sums: RecoverySums) -> Spread:
    """Return what the C samples are that each lack one source; takes C x D products."""
    return spread(sums, lambda values: values.sum(axis=0) - values)


def spread(sums: RecoverySums, over: Over) -> Spread:
    """Return what is the same at every number of draws."""
    n, x_squares = over(sums.n), over(sums.x_squares)
    # About the grand mean m: |x - m|^2 = |x - o|^2 + 2 (x - o) . (o - m) + |o - m|^2, o the origin.
    about = sums.origin - sums.origin.mean()
    x_sum = over(sums.x.sum(axis=1))
    shift = x_sum / (np.maximum(n, 1.0) * sums.n_dimensions)  # m less the mean of o
    cross = over(sums.x @ about) - shift * x_sum
    x_grand_squares = x_squares + 2.0 * cross + n * (about @ about + sums.n_dimensions * np.square(shift))
    return Spread(
        over=over,
        n=n,
        x_squares=x_squares,
        x_sum_squares=np.square(over(sums.x)).sum(axis=-1),
        x_grand_squares=x_grand_squares,
        n_cosine=over(sums.n_cosine),
    )


def totals_at(sums: RecoverySums, k: int, of: Spread) -> Totals:
    """Return the sums of samples at a number of draws.

    Raises:
        ValueError: the sums are not of ``k`` draws.
    """
    at, over = _place(sums, k), of.over
    residual_squares = over(sums.residual_squares[at])
    # The expected square of a sum is that of the expected sum, and the variances of the draws.
    of_draws = residual_squares - over(sums.mean_residual_squares[at])
    return Totals(
        n=of.n,
        n_dimensions=sums.n_dimensions,
        x_squares=of.x_squares,
        x_sum_squares=of.x_sum_squares,
        x_grand_squares=of.x_grand_squares,
        residual_squares=residual_squares,
        residual_sum_squares=np.square(over(sums.residual[at])).sum(axis=-1) + of_draws,
        cosine=over(sums.cosine[at]),
        n_cosine=of.n_cosine,
    )


def _place(sums: RecoverySums, k: int) -> int:
    try:
        return sums.ks.index(k)
    except ValueError:
        raise ValueError(f"sums of {list(sums.ks)} draws, asked for {k}") from None
