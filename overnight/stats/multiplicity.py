"""Many tests at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjusted:
    """One p-value after each adjustment; None where there was none."""

    q_value: float | None  # Benjamini-Hochberg
    q_value_by: float | None  # Benjamini-Yekutieli: holds under any dependence between the tests
    p_holm: float | None  # Holm: bounds the chance of even one false call


def adjust_all(p_values: Sequence[float | None]) -> list[Adjusted]:
    """Return every adjustment of each p-value, in the order given.

    Raises:
        ValueError: a p-value is outside [0, 1].
    """
    return [
        Adjusted(q_value=bh, q_value_by=by, p_holm=holm)
        for bh, by, holm in zip(
            benjamini_hochberg(p_values),
            benjamini_yekutieli(p_values),
            holm_bonferroni(p_values),
            strict=True,
        )
    ]


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the q-values: the smallest false discovery rate at which each test would be called.

    The step-up rule q_(i) = min over j >= i of m p_(j) / j over the m tests that have a p-value. A None stays
    None and is not counted in m. Never below p, never above 1, in the order given.

    Raises:
        ValueError: a p-value is outside [0, 1].

    Source:
        Benjamini & Hochberg (1995), J R Stat Soc B 57:289-300.
    """
    return _rates(p_values, "bh")


def benjamini_yekutieli(p_values: Sequence[float | None]) -> list[float | None]:
    """Return q-values that hold however the tests depend on each other: those above times 1 + 1/2 + ... + 1/m.

    Raises:
        ValueError: a p-value is outside [0, 1].

    Source:
        Benjamini & Yekutieli (2001), Ann Stat 29:1165-1188.
    """
    return _rates(p_values, "by")


def holm_bonferroni(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted so that the chance of even one false call is bounded: the step-down rule.

    Raises:
        ValueError: a p-value is outside [0, 1].

    Source:
        Holm (1979), Scand J Stat 6:65-70.
    """
    defined = _defined(p_values)
    # SciPy has none, and that of statsmodels collects garbage at every call: a tenth of a second in a large process.
    order = np.argsort(defined)
    steps = np.maximum.accumulate(np.asarray(defined)[order] * np.arange(len(defined), 0, -1))
    corrected = np.empty(len(defined))
    corrected[order] = np.minimum(steps, 1.0)
    return _in_place(p_values, corrected.tolist())


def _rates(p_values: Sequence[float | None], method: Literal["bh", "by"]) -> list[float | None]:
    defined = _defined(p_values)
    # SciPy has both rates, and statsmodels would bring pandas with it.
    return _in_place(
        p_values, stats.false_discovery_control(defined, method=method).tolist() if defined else []
    )


def _defined(p_values: Sequence[float | None]) -> list[float]:
    defined = [p for p in p_values if p is not None]
    if not all(0.0 <= p <= 1.0 for p in defined):
        raise ValueError(
            f"a p-value lies between 0 and 1; found {next(p for p in defined if not 0 <= p <= 1)}"
        )
    return defined


def _in_place(p_values: Sequence[float | None], adjusted: list[float]) -> list[float | None]:
    values = iter(adjusted)
    return [None if p is None else next(values) for p in p_values]
