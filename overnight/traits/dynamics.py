"""How a projection moves from token to token.

A series is ``[T, ...]`` with the tokens in front; every function takes all series of an array at once and gives NaN
where a quantity is undefined, which `scalar` makes None of a single one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from overnight.traits.labelled import Floats

COMMITTED_BELOW = 0.5
WINDOW = 10
SETTLED_BELOW = 0.05
PERSISTS_ABOVE = 0.5


def velocity(series: NDArray[Any]) -> Floats:
    """Return first differences, ``[T - 1, ...]``, in units of the projection a token; entry t is from t to t + 1."""
    return np.diff(series.astype(np.float64), axis=0)


def acceleration(series: NDArray[Any]) -> Floats:
    """Return second differences, ``[T - 2, ...]``; entry t is about token t + 1."""
    return np.diff(series.astype(np.float64), n=2, axis=0)


def mean_speed(series: NDArray[Any]) -> Floats:
    """Return the mean absolute velocity, ``[...]``; NaN of fewer than two tokens."""
    return _mean(np.abs(velocity(series)))


def commitment(series: NDArray[Any], *, below: float = COMMITTED_BELOW, is_absolute: bool = False) -> Floats:
    """Return the first entry of the acceleration that is smaller than a bound, as its 0-based index, ``[...]``.

    The index is that of `acceleration`: entry t is the bend at token t + 1.

    By default the bound is a share of the series' own standard deviation (ddof 1) over its tokens. Projections are in
    units of the residual stream, whose length grows tenfold and more from the first layer to the last: an absolute
    bound of .1, as in the tool that this measure comes from, is met at once in early layers and never in late ones.

    Args:
        series: ``[T, ...]``.
        below: the bound, above 0; a share of the standard deviation, or in units of the projection.
        is_absolute: which of the two.

    Returns:
        NaN where no entry is below the bound, the series has fewer than three tokens or is not finite, or the bound
        is a share and the series is constant: it never moved, so it did not settle either.

    Raises:
        ValueError: ``below`` is not above 0.
    """
    _require_positive(below, "below")
    bends = np.abs(acceleration(series))
    if not len(bends):
        return np.full(bends.shape[1:], np.nan)
    return _first(bends < (below if is_absolute else below * _own_spread(series)), series)


def windowed_commitment(
    series: NDArray[Any],
    *,
    window: int = WINDOW,
    below: float = SETTLED_BELOW,
    is_absolute: bool = False,
) -> Floats:
    """Return the first token of the first window in which the projection hardly varies, 0-based, ``[...]``.

    The variance (ddof 1) of ``window`` tokens in a row, compared with a share of the variance of the whole series, or
    with a bound in squared units of the projection.

    Returns:
        NaN where no window is below the bound, the series is shorter than a window or is not finite, or the bound is
        a share and the series is constant.

    Raises:
        ValueError: ``below`` is not above 0, or ``window`` is below 2.
    """
    _require_positive(below, "below")
    if window < 2:  # noqa: PLR2004 - a variance takes two
        raise ValueError(f"window={window}; want at least 2 tokens")
    values = series.astype(np.float64)
    if len(values) < window:
        return np.full(values.shape[1:], np.nan)
    within = np.lib.stride_tricks.sliding_window_view(values, window, axis=0).var(axis=-1, ddof=1)
    return _first(within < (below if is_absolute else below * _own_spread(series) ** 2), series)


def persistence(series: NDArray[Any], *, above: float = PERSISTS_ABOVE) -> Floats:
    """Return how many tokens after the peak are still above a share of it in magnitude, ``[...]``.

    The peak is the first token with the largest magnitude; all later tokens count, in a row or not.

    Returns:
        NaN where the series is empty, not finite, or zero throughout.

    Raises:
        ValueError: ``above`` is not in [0, 1).
    """
    if not 0 <= above < 1:
        raise ValueError(f"above={above}; want a share of the peak in [0, 1)")
    size = np.abs(series.astype(np.float64))
    if not len(size):
        return np.full(size.shape[1:], np.nan)
    peak = size.max(axis=0)
    place = np.arange(len(size)).reshape(-1, *(1,) * (size.ndim - 1))
    is_later = place > size.argmax(axis=0)
    counted = (is_later & (size > above * peak)).sum(axis=0)
    return np.where(np.isfinite(peak) & (peak > 0), counted, np.nan)


def scalar(value: Any) -> float | None:
    """Return a single quantity as a number, or None where it is undefined."""
    found = float(value)
    return found if np.isfinite(found) else None


def _own_spread(series: NDArray[Any]) -> Floats:
    """Return the standard deviation over tokens, NaN where there is none or where it is rounding."""
    values = series.astype(np.float64)
    spread = values.std(axis=0, ddof=1)
    return np.where(spread > 1e-12 * np.abs(values).max(axis=0), spread, np.nan)


def _first(is_below: NDArray[np.bool_], series: NDArray[Any]) -> Floats:
    is_known = np.isfinite(series).all(axis=0) & is_below.any(axis=0)
    return np.where(is_known, is_below.argmax(axis=0), np.nan)


def _mean(values: Floats) -> Floats:
    return values.mean(axis=0) if len(values) else np.full(values.shape[1:], np.nan)


def _require_positive(value: float, name: str) -> None:
    if not value > 0:
        raise ValueError(f"{name}={value}; want more than 0")
