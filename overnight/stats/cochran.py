"""Cochran's Q: are several systems right equally often on the same items?"""

from dataclasses import dataclass

import numpy as np

from overnight.stats.pairs import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class CochranQ:
    """The test of equal shares; without a value it says why."""

    n_items: int
    n_systems: int
    q: float | None = None
    df: int | None = None
    p_value: float | None = None  # chi-squared approximation
    q_value: float | None = None  # of `p_value` among all tests it was made with; None until adjusted
    q_value_by: float | None = None
    p_holm: float | None = None
    undefined_because: str | None = None


def cochran_q(right: FloatArray) -> CochranQ:
    """Test whether the columns of an ``[n_items, n_systems]`` table of 0 and 1 have equal means.

    Returns:
        With two systems it is McNemar's chi-squared. A table that is not binary, has fewer than two systems
        or no items, or in which no item tells two systems apart, has no Q; the reason is given.

    Source:
        Cochran (1950), Biometrika 37:256-266; ``statsmodels.stats.contingency_tables.cochrans_q``.
    """
    n_items, n_systems = right.shape
    if reason := _why_none(right):
        return CochranQ(n_items=n_items, n_systems=n_systems, undefined_because=reason)
    from statsmodels.stats.contingency_tables import cochrans_q  # noqa: PLC0415 - it brings pandas with it

    test = cochrans_q(right)
    return CochranQ(
        n_items=n_items,
        n_systems=n_systems,
        q=float(test.statistic),
        df=int(test.df),
        p_value=float(test.pvalue),
    )


def _why_none(right: FloatArray) -> str | None:
    n_items, n_systems = right.shape
    if n_systems < 2:  # noqa: PLR2004 - a comparison takes two
        return f"{n_systems} systems: a comparison takes two"
    if n_items == 0:
        return "no item has a value in every system"
    if not np.isin(right, (0.0, 1.0)).all():
        return "the metric is not binary: it has values other than 0 and 1"
    if (right == right[:, :1]).all():
        return "the systems are right and wrong on the same items"
    return None
