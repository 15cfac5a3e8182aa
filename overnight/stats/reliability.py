"""Do probabilities mean what they say? Calibration error, Brier score and the reliability table."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from overnight.errors import UndefinedMetricError
from overnight.stats.clustered import IntArray
from overnight.stats.pairs import FloatArray
from overnight.stats.scored_items import BoolArray

Binning = Literal["equal_width", "equal_mass"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Answers whose probability lies in one bin; empty bins are not in the table."""

    low: float  # smallest probability that is there
    high: float  # largest
    n_items: int
    mean_probability: float
    share_right: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Calibration of the probability of being right, over one set of bins."""

    n_items: int
    binning: Binning
    bins: tuple[ReliabilityBin, ...]
    ece: float  # mean distance of probability and share right, weighted by items: biased upwards
    rms_debiased: float | None  # root of the mean squared distance, less what chance alone would give
    rms_undefined_because: str | None
    brier: float  # mean squared error of the probabilities: 0 is best
    brier_reliability: float  # what poor calibration adds
    brier_resolution: float  # what telling bins apart takes off
    brier_uncertainty: float  # of always saying the share right
    brier_within_bins: float  # what the bins hide: 0 where a bin holds one probability


def reliability(
    probability: FloatArray, is_right: BoolArray, *, n_bins: int = 10, binning: Binning = "equal_mass"
) -> Reliability:
    """Compare probabilities with shares, bin by bin.

    Brier = reliability - resolution + uncertainty + within bins.

    Args:
        probability: ``[N]`` of being right, in [0, 1]. An uncertainty is none: it has to be one by its nature,
            or made into one by `cross_fitted`.
        is_right: ``[N]``.
        n_bins: at most so many. Equal probabilities are never cut apart, so that no order of rows matters.
        binning: bins of equal width over [0, 1], a value on an edge in the bin above; or of about equal numbers.

    Raises:
        UndefinedMetricError: there are no items.
        ValueError: a probability lies outside [0, 1], or a setting is out of range.

    Source:
        ECE: Naeini, Cooper & Hauskrecht (2015), AAAI. Debiased squared error: Broecker (2012), Clim Dyn
        39:655-667; Kumar, Liang & Ma (2019), NeurIPS. Decomposition: Murphy (1973), J Appl Meteorol 12:595-600;
        within bins: Stephenson, Coelho & Jolliffe (2008), Weather Forecast 23:752-757.
    """
    if len(probability) != len(is_right) or n_bins < 1:
        raise ValueError(f"{len(probability)} probabilities, {len(is_right)} labels, {n_bins} bins")
    if not ((probability >= 0.0) & (probability <= 1.0)).all():
        raise ValueError("a probability lies outside [0, 1]; an uncertainty is not a probability")
    n_items = len(probability)
    if n_items == 0:
        raise UndefinedMetricError("no items: calibration is undefined")
    bin_of = (
        _equal_width(probability, n_bins) if binning == "equal_width" else _equal_mass(probability, n_bins)
    )
    _, member, counts = np.unique(bin_of, return_inverse=True, return_counts=True)
    said = np.bincount(member, weights=probability) / counts
    right = np.bincount(member, weights=is_right) / counts
    low, high = np.full(len(counts), np.inf), np.full(len(counts), -np.inf)
    np.minimum.at(low, member, probability)
    np.maximum.at(high, member, probability)

    weights, gap, share = counts / n_items, said - right, float(is_right.mean())
    brier = float(np.mean((probability - is_right) ** 2))
    of_reliability = float(weights @ gap**2)
    of_resolution = float(weights @ (right - share) ** 2)
    rms, why = _debiased(weights, gap, right, counts)
    return Reliability(
        n_items=n_items,
        binning=binning,
        bins=tuple(
            ReliabilityBin(
                low=float(low[k]),
                high=float(high[k]),
                n_items=int(counts[k]),
                mean_probability=float(said[k]),
                share_right=float(right[k]),
            )
            for k in range(len(counts))
        ),
        ece=float(weights @ np.abs(gap)),
        rms_debiased=rms,
        rms_undefined_because=why,
        brier=brier,
        brier_reliability=of_reliability,
        brier_resolution=of_resolution,
        brier_uncertainty=share * (1.0 - share),
        brier_within_bins=brier - (of_reliability - of_resolution + share * (1.0 - share)),
    )


def _debiased(
    weights: FloatArray, gap: FloatArray, right: FloatArray, counts: IntArray
) -> tuple[float | None, str | None]:
    """Return the root of the squared error less each bin's sampling variance, 0 where chance explains it all."""
    if counts.min() < 2:  # noqa: PLR2004 - a variance takes two
        return None, "a bin holds one item, whose sampling variance is unknown; take fewer bins"
    squared = float(weights @ (gap**2 - right * (1.0 - right) / (counts - 1)))
    return math.sqrt(max(0.0, squared)), None


def _equal_width(probability: FloatArray, n_bins: int) -> IntArray:
    bins: IntArray = np.minimum((probability * n_bins).astype(np.int64), n_bins - 1)
    return bins


def _equal_mass(probability: FloatArray, n_bins: int) -> IntArray:
    """Return bins by the rank of the first of equal values, so that these stay together."""
    first = np.searchsorted(np.sort(probability), probability, side="left")
    bins: IntArray = (first * n_bins // len(probability)).astype(np.int64)
    return bins
