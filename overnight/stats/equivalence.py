"""Is a difference small enough not to matter, and is the treatment at least not worse?"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from overnight.stats.clusters import Codes, cluster_sums
from overnight.stats.pairs import FloatArray

_NO_SPREAD = 1e-12  # of the largest difference: a standard error below this is rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Tost:
    """Two one-sided t tests against -margin and +margin, and non-inferiority, which is one of them."""

    margin: float  # in the unit of the metric
    alpha: float
    p_lower: float | None = None  # of a difference at or below -margin
    p_upper: float | None = None  # of a difference at or above +margin
    p_value: float | None = None  # the larger of the two
    is_equivalent: bool | None = None  # both are below alpha
    p_non_inferior: float | None = None  # of a treatment that is worse by the margin or more
    is_non_inferior: bool | None = None
    ci_low: float | None = None  # of the t interval with confidence 1 - 2 alpha, inside the margins
    ci_high: float | None = None  # just where the two are equivalent
    undefined_because: str | None = None


def tost(
    differences: FloatArray,
    *,
    margin: float,
    alpha: float = 0.05,
    is_higher_better: bool | None = True,
    clusters: Codes | None = None,
) -> Tost:
    """Test whether the mean of ``[N]`` differences lies within +-margin.

    The standard error is that of the mean; with ``clusters`` it is the cluster-robust one of a ratio mean,
    with clusters - 1 degrees of freedom, which for clusters of one pair is the same.

    Args:
        differences: treatment - control.
        margin: positive, in the unit of the differences.
        alpha: level of each one-sided test.
        is_higher_better: which side is worse, for non-inferiority; None where neither is.
        clusters: which cluster each difference belongs to; None takes every pair as independent.

    Returns:
        Without two independent units, or where they do not vary, no p-values but the reason.

    Raises:
        ValueError: the margin is not positive, or alpha is outside (0, .5).

    Source:
        Schuirmann (1987), J Pharmacokinet Biopharm 15:657-680; Liang & Zeger (1986), Biometrika 73:13-22.
    """
    if not (margin > 0.0 and 0.0 < alpha < 0.5):  # noqa: PLR2004 - a level of half is no test
        raise ValueError(f"margin={margin}, alpha={alpha}; want a positive margin and alpha in (0, .5)")
    empty = Tost(margin=margin, alpha=alpha)
    units = cluster_sums(differences, clusters)
    what = "pairs" if clusters is None else "clusters"
    if units.n_clusters < 2:  # noqa: PLR2004 - a spread takes two
        return replace(empty, undefined_because=f"{units.n_clusters} {what}: a spread takes two")
    residuals = units.sums - units.mean * units.sizes
    small_sample = units.n_clusters / (units.n_clusters - 1)
    error = float(np.sqrt(small_sample * np.sum(residuals**2)) / units.sizes.sum())
    if error <= _NO_SPREAD * float(np.abs(differences).max()):
        return replace(
            empty, undefined_because=f"the {what} do not differ (sd 0): a t test has no denominator"
        )
    t = stats.t(units.n_clusters - 1)
    p_lower = float(t.sf((units.mean + margin) / error))
    p_upper = float(t.cdf((units.mean - margin) / error))
    p_non_inferior = {True: p_lower, False: p_upper, None: None}[is_higher_better]
    half_width = float(t.ppf(1.0 - alpha)) * error
    return replace(
        empty,
        p_lower=p_lower,
        p_upper=p_upper,
        p_value=max(p_lower, p_upper),
        is_equivalent=max(p_lower, p_upper) < alpha,
        p_non_inferior=p_non_inferior,
        is_non_inferior=None if p_non_inferior is None else p_non_inferior < alpha,
        ci_low=units.mean - half_width,
        ci_high=units.mean + half_width,
    )
