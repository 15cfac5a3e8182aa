"""What is meant by recovery: six measures that differ in what they forgive, each from sums alone.

Of N vectors x_i of D dimensions, with residuals r_i = x_i - reconstruction. Every function takes `Totals`, whose fields
may hold one value or one for every resample, and gives as many; NaN where the measure is undefined.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from overnight.stats.pairs import FloatArray

_NOTHING = 1e-12  # of the squares about the origin: a spread below is what rounding leaves of none


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Totals:
    """Sums over the vectors of a sample, at one number of draws; ``[...]`` each."""

    n: FloatArray  # N
    n_dimensions: int  # D
    x_squares: FloatArray  # sum |x_i - origin|^2
    x_sum_squares: FloatArray  # |sum (x_i - origin)|^2
    x_grand_squares: FloatArray  # sum over i, d of (x_id - the mean of all of them)^2
    residual_squares: FloatArray  # sum of the expected |r_i|^2
    residual_sum_squares: FloatArray  # expected |sum r_i|^2, draws of different vectors being independent
    cosine: FloatArray
    n_cosine: FloatArray  # vectors that have a cosine

    @property
    def spread(self) -> FloatArray:
        """Sum over i of |x_i - mean|^2, NaN where the vectors do not differ."""
        found = self.x_squares - self.x_sum_squares / self.n
        return np.where(found > _NOTHING * self.x_squares, found, np.nan)


def mse(totals: Totals) -> FloatArray:
    """Return mean_i mean_d r_id^2, in squared units of the vectors; lower is better."""
    return totals.residual_squares / (totals.n * totals.n_dimensions)


def normalised_mse(totals: Totals) -> FloatArray:
    """Return sum |r_i|^2 / sum |x_i - mean|^2; lower is better, 1 is what the mean vector does, 0 is exact.

    Source:
        Gao et al. (2024), arXiv:2406.04093, section 2.1: the error over that of always predicting the mean.
    """
    return totals.residual_squares / totals.spread


def fve(totals: Totals) -> FloatArray:
    """Return 1 - sum_d Var_i(r_id) / sum_d Var_i(x_id); higher is better, at most 1.

    Fraction of variance explained, called variance recovery by the sweep this follows. The mean residual is taken
    off: a reconstruction that is wrong by the same vector everywhere has 1. That is scikit-learn's
    ``explained_variance_score`` with ``multioutput='variance_weighted'``; both variances have N - 1 below.
    The draw that is kept is the one with the lowest error, the bias in it, so this is not bound to grow with the
    number of draws; `bias_aware_fve`, `r_squared_grand` and the errors are.
    """
    about_mean = totals.residual_squares - totals.residual_sum_squares / totals.n
    return 1.0 - np.maximum(about_mean, 0.0) / totals.spread


def bias_aware_fve(totals: Totals) -> FloatArray:
    """Return 1 - sum_d mean_i r_id^2 / sum_d Var_i(x_id), Var with N - 1 below; higher is better, at most 1.

    As `fve`, but a constant error counts: the honest one of the two. Always giving the mean has 1 / N, not 0, for
    the sake of the N - 1; to the factor (N - 1) / N its second term is `normalised_mse`.
    """
    return 1.0 - totals.residual_squares * ((totals.n - 1.0) / totals.n) / totals.spread


def r_squared_grand(totals: Totals) -> FloatArray:
    """Return 1 - sum r_id^2 / sum (x_id - m)^2, m the one mean of all numbers; higher is better, at most 1.

    For comparison with older figures only: where dimensions have different means, which those of models have, it is
    high for a reconstruction that knows nothing but these means.
    """
    spread = np.where(totals.x_grand_squares > _NOTHING * totals.x_squares, totals.x_grand_squares, np.nan)
    return 1.0 - totals.residual_squares / spread


def cosine(totals: Totals) -> FloatArray:
    """Return the mean of x_i . y_i / (|x_i| |y_i|), y_i the reconstruction; in [-1, 1], higher is better.

    About 0 and not about the mean: vectors with a large common part have a high one whatever is recovered. The draw
    that is kept is still the one with the lowest error, so this need not grow with the number of draws.
    """
    return totals.cosine / np.where(totals.n_cosine > 0.0, totals.n_cosine, np.nan)


class Measure(StrEnum):
    """A measure of recovery."""

    FVE = "fve"
    BIAS_AWARE_FVE = "bias_aware_fve"
    MSE = "mse"
    NORMALISED_MSE = "normalised_mse"
    R_SQUARED_GRAND = "r_squared_grand"
    COSINE = "cosine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A measure in words, for a file or a report, and as a function."""

    formula: str
    is_higher_better: bool
    undefined_where: str
    of: Callable[[Totals], FloatArray]


_ALIKE = "the vectors do not differ"
DEFINITIONS: Mapping[Measure, Definition] = {
    Measure.FVE: Definition(
        formula="1 - sum_d Var_i(r_id) / sum_d Var_i(x_id); a constant error is free",
        is_higher_better=True,
        undefined_where=_ALIKE,
        of=fve,
    ),
    Measure.BIAS_AWARE_FVE: Definition(
        formula="1 - sum_d mean_i r_id^2 / sum_d Var_i(x_id), N - 1 in Var; a constant error counts",
        is_higher_better=True,
        undefined_where=_ALIKE,
        of=bias_aware_fve,
    ),
    Measure.MSE: Definition(
        formula="mean_i mean_d r_id^2", is_higher_better=False, undefined_where="there is no vector", of=mse
    ),
    Measure.NORMALISED_MSE: Definition(
        formula="sum_i |r_i|^2 / sum_i |x_i - mean x|^2; 1 for the mean vector",
        is_higher_better=False,
        undefined_where=_ALIKE,
        of=normalised_mse,
    ),
    Measure.R_SQUARED_GRAND: Definition(
        formula="1 - sum r_id^2 / sum (x_id - grand mean)^2; high wherever means of dimensions differ",
        is_higher_better=True,
        undefined_where="all numbers of all vectors are the same",
        of=r_squared_grand,
    ),
    Measure.COSINE: Definition(
        formula="mean_i cos(x_i, reconstruction_i), about 0",
        is_higher_better=True,
        undefined_where="every vector, or a reconstruction of it, is zero",
        of=cosine,
    ),
}
