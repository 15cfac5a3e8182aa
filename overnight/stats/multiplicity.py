"""Many tests at once."""

from collections.abc import Sequence

from scipy import stats


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the q-values: the smallest false discovery rate at which each test would be called.

    The step-up rule q_(i) = min over j >= i of m p_(j) / j over the m tests that have a p-value. A None stays
    None and is not counted in m. Never below p, never above 1, in the order given.

    Raises:
        ValueError: a p-value is outside [0, 1].

    Source:
        Benjamini & Hochberg (1995), J R Stat Soc B 57:289-300.
    """
    defined = [p for p in p_values if p is not None]
    if not defined:
        return [None] * len(p_values)
    adjusted = iter(stats.false_discovery_control(defined, method="bh").tolist())
    return [None if p is None else next(adjusted) for p in p_values]
