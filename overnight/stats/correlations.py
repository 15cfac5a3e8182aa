"""How far two measures rank items alike, as they are and for answers of the same length."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from overnight.errors import UndefinedMetricError
from overnight.stats.pairs import FloatArray, pair

_FEWEST = 4  # values: a partial correlation of three has no degree of freedom left


@dataclass(frozen=True, slots=True, kw_only=True)
class RankCorrelation:
    """Spearman's rho of two measures over the items that have both."""

    first: str
    second: str
    n_items: int
    rho: float | None  # in [-1, 1]
    p_value: float | None  # two-sided, by t with n - 2 degrees of freedom; None beside |rho| = 1
    ties_first: float | None  # share of items that share their value with another
    ties_second: float | None
    is_same_ranking: bool  # the same measure for every purpose of ranking
    undefined_because: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialCorrelation:
    """Spearman's rho of two columns with the ranks of a third held fixed."""

    n_items: int
    rho: float  # in [-1, 1]
    rho_plain: float  # without holding anything fixed
    p_value: float  # two-sided, by t with n - 3 degrees of freedom


def correlations(measures: Mapping[str, Mapping[str, float | None]]) -> list[RankCorrelation]:
    """Return Spearman's rho of every two measures, given by item key; None where an item has no value.

    Raises:
        ValueError: a value is not finite.
    """
    return [
        _correlation(first, second, measures[first], measures[second])
        for first, second in combinations(measures, 2)
    ]


def partial_spearman(first: FloatArray, second: FloatArray, given: FloatArray) -> PartialCorrelation:
    """Return the correlation of the ranks of two ``[N]`` columns that a third does not explain.

    (r12 - r13 r23) / sqrt((1 - r13^2) (1 - r23^2)) of Spearman's rhos.

    Raises:
        UndefinedMetricError: there are fewer than four items, a column is constant, or the third column ranks
            as one of the others does, so that nothing is left of it.

    Source:
        Kendall (1942), Biometrika 32:277-283, for the formula; of ranks as in Conover (1999), section 5.4.
    """
    n_items = len(first)
    if n_items < _FEWEST:
        raise UndefinedMetricError(f"{n_items} items; a partial correlation takes at least {_FEWEST}")
    columns = np.stack([stats.rankdata(column) for column in (first, second, given)])
    if (np.ptp(columns, axis=1) == 0.0).any():
        raise UndefinedMetricError("a column is constant, so it has no correlation")
    (_, r12, r13), (_, _, r23), _ = np.corrcoef(columns)
    left = (1.0 - r13**2) * (1.0 - r23**2)
    if left < 1e-12:  # noqa: PLR2004 - squares that rounding leaves of 0
        raise UndefinedMetricError("what is held fixed ranks items as one of the two does: nothing is left")
    rho = float(np.clip((r12 - r13 * r23) / math.sqrt(left), -1.0, 1.0))
    df = n_items - 3
    t = np.inf if abs(rho) == 1.0 else abs(rho) * math.sqrt(df / (1.0 - rho**2))
    return PartialCorrelation(
        n_items=n_items, rho=rho, rho_plain=float(r12), p_value=float(2 * stats.t.sf(t, df))
    )


def _correlation(
    first: str, second: str, a: Mapping[str, float | None], b: Mapping[str, float | None]
) -> RankCorrelation:
    both = pair(a, b)
    rho, p_value, why, is_same = None, None, None, False
    if both.n_pairs < 3:  # noqa: PLR2004 - two points always lie on a line
        why = f"{both.n_pairs} items have both measures; a correlation takes at least 3"
    elif np.ptp(both.control) == 0.0 or np.ptp(both.treatment) == 0.0:
        why = f"{first if np.ptp(both.control) == 0.0 else second} is constant over {both.n_pairs} items"
    else:
        found = stats.spearmanr(both.control, both.treatment)
        rho = float(np.clip(found.statistic, -1.0, 1.0))
        is_same = bool((stats.rankdata(both.control) == stats.rankdata(both.treatment)).all())
        p_value = None if 1.0 - abs(rho) < 1e-12 else float(found.pvalue)  # noqa: PLR2004 - rounded 1
    return RankCorrelation(
        first=first,
        second=second,
        n_items=both.n_pairs,
        rho=rho,
        p_value=p_value,
        ties_first=_ties(both.control),
        ties_second=_ties(both.treatment),
        is_same_ranking=is_same,
        undefined_because=why,
    )


def _ties(values: FloatArray) -> float | None:
    if not len(values):
        return None
    _, counts = np.unique(values, return_counts=True)
    return float(counts[counts > 1].sum() / len(values))
