"""One difference from several subgroups: fixed and random effects, and how far the subgroups disagree."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy import stats

from overnight.errors import UndefinedMetricError

_FEWEST = 2  # subgroups to pool; a prediction interval takes one more


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The mean difference of one subgroup and its standard error, which must be positive."""

    name: str
    mean: float
    se: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """A pooled mean difference; its bounds have the confidence asked for."""

    mean: float
    se: float
    low: float
    high: float
    p_value: float  # two-sided, of no difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooling:
    """Subgroups taken together, under both models, and their heterogeneity."""

    fixed: Pooled  # one difference for all
    random: Pooled  # differences scatter around a mean, with variance tau^2
    q: float  # Cochran's Q
    df: int
    q_p_value: float  # of equal differences
    i2: float  # share in [0, 1) of the scatter that is not chance
    tau2: float  # variance between subgroups, in the unit of the differences squared
    prediction: tuple[float, float] | None  # where a new subgroup's difference lies; None with two subgroups


def pool(effects: Sequence[Effect], *, confidence: float = 0.95) -> Pooling:
    """Pool independent subgroups with weights 1 / SE^2, and by DerSimonian and Laird.

    tau^2 = max(0, (Q - df) / (sum w - sum w^2 / sum w)) and I^2 = max(0, (Q - df) / Q). statsmodels'
    ``combine_effects`` has the same formulas without the truncation at 0, which is why they stand here.

    Raises:
        UndefinedMetricError: there are fewer than two subgroups.
        ValueError: a standard error is not positive: leave out subgroups in which nothing varies.

    Source:
        DerSimonian & Laird (1986), Control Clin Trials 7:177-188; Higgins & Thompson (2002), Stat Med
        21:1539-1558 (I^2); Higgins, Thompson & Spiegelhalter (2009), J R Stat Soc A 172:137-159 (prediction).
    """
    if len(effects) < _FEWEST:
        raise UndefinedMetricError(f"{len(effects)} subgroup to pool; it takes at least {_FEWEST}")
    means = np.array([effect.mean for effect in effects])
    errors = np.array([effect.se for effect in effects])
    if not (np.isfinite(means).all() and np.isfinite(errors).all() and (errors > 0).all()):
        raise ValueError("a standard error is not positive and finite; leave that subgroup out")

    weights = errors**-2.0
    fixed = float(weights @ means / weights.sum())
    q, df = float(weights @ (means - fixed) ** 2), len(effects) - 1
    tau2 = max(0.0, (q - df) / float(weights.sum() - (weights @ weights) / weights.sum()))
    random_weights = 1.0 / (errors**2 + tau2)
    random = float(random_weights @ means / random_weights.sum())
    random_se = float(random_weights.sum()) ** -0.5
    prediction = None
    if df >= _FEWEST:
        reach = float(stats.t.ppf((1 + confidence) / 2, df - 1)) * math.sqrt(tau2 + random_se**2)
        prediction = (random - reach, random + reach)
    return Pooling(
        fixed=_pooled(fixed, float(weights.sum()) ** -0.5, confidence),
        random=_pooled(random, random_se, confidence),
        q=q,
        df=df,
        q_p_value=float(stats.chi2.sf(q, df)),
        i2=max(0.0, (q - df) / q) if q > 0 else 0.0,
        tau2=tau2,
        prediction=prediction,
    )


def hartung_knapp(effects: Sequence[Effect], tau2: float, *, confidence: float = 0.95) -> Pooled:
    """Return the random-effects mean with the standard error and t interval of Hartung and Knapp.

    The squared standard error is sum w (x - mean)^2 / ((k - 1) sum w), with w = 1 / (SE^2 + tau^2), but never
    below 1 / sum w: subgroups that agree by luck would else give next to no interval.

    Raises:
        UndefinedMetricError: there are fewer than two subgroups.

    Source:
        Hartung & Knapp (2001), Stat Med 20:3875-3889; the floor: Knapp & Hartung (2003), Stat Med 22:2693-2710.
    """
    df = len(effects) - 1
    if df < 1:
        raise UndefinedMetricError(f"{len(effects)} subgroup to pool; it takes at least {_FEWEST}")
    means = np.array([effect.mean for effect in effects])
    weights = 1.0 / (np.array([effect.se for effect in effects]) ** 2 + tau2)
    mean = float(weights @ means / weights.sum())
    scale = max(1.0, float(weights @ (means - mean) ** 2) / df)
    se = math.sqrt(scale / float(weights.sum()))
    reach = float(stats.t.ppf((1 + confidence) / 2, df)) * se
    p_value = float(2 * stats.t.sf(abs(mean) / se, df))
    return Pooled(mean=mean, se=se, low=mean - reach, high=mean + reach, p_value=p_value)


def normal_interval(mean: float, se: float, confidence: float) -> tuple[float, float]:
    """Return mean -+ z * se."""
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * se
    return mean - reach, mean + reach


def _pooled(mean: float, se: float, confidence: float) -> Pooled:
    low, high = normal_interval(mean, se, confidence)
    return Pooled(mean=mean, se=se, low=low, high=high, p_value=float(2 * stats.norm.sf(abs(mean) / se)))
