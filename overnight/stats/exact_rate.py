"""An exact interval of a rate."""


def exact_interval(k: int, n: int, confidence: float) -> tuple[float, float] | None:
    """Return the bounds of the rate behind ``k`` of ``n``; None without any.

    Source:
        Clopper and Pearson (1934), by SciPy's ``binomtest``.
    """
    if not n:
        return None
    from scipy import stats  # noqa: PLC0415 - seconds, which every run would wait for at its start

    found = stats.binomtest(k, n).proportion_ci(confidence_level=confidence, method="exact")
    return float(found.low), float(found.high)
