"""What a gain costs, with its sign: a loss has no price per gain."""

from overnight.errors import UndefinedMetricError


def usd_per_point(usd_difference: float, gain: float) -> float:
    """Return what one percentage point of gain costs, in USD over the whole set of items.

    Args:
        usd_difference: price of the treatment's tokens less that of the control's, on the same items.
        gain: treatment - control of a metric in [0, 1] that should rise; less that, of one that should fall.

    Returns:
        usd_difference / (100 * gain).

    Raises:
        UndefinedMetricError: there is no gain to be paid for, or it comes with a saving.
    """
    if gain < 0:
        raise UndefinedMetricError(f"a loss of {-100 * gain:.2f} percentage points is no gain with a price")
    if gain == 0:
        raise UndefinedMetricError("no gain: there is nothing to be paid for")
    if usd_difference <= 0:
        raise UndefinedMetricError(
            f"the gain of {100 * gain:.2f} percentage points comes with a saving or for nothing"
        )
    return usd_difference / (100.0 * gain)
