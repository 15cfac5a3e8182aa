"""The kinds of numbers that states are kept in; numpy has no bfloat16, so its bits are kept as they are."""

from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EXPONENT = 0x7F80  # of a bfloat16; all of it set: infinite, or no number


class Kept(StrEnum):
    """A kind of number, by its name in torch."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"  # as uint16 in numpy: the upper half of a float32

    @property
    def dtype(self) -> np.dtype[Any]:
        """What numpy holds it in."""
        return np.dtype({"float32": "<f4", "float16": "<f2", "bfloat16": "<u2"}[self.value])


def widen(values: NDArray[Any], kept: Kept) -> NDArray[np.float32]:
    """Return the same numbers as float32; exact for every kind."""
    if kept is Kept.BFLOAT16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32, copy=False)


def narrow(values: NDArray[np.float32], kept: Kept) -> NDArray[Any]:
    """Return numbers in a kind that holds fewer of them: the nearest, of two as near the one with an even last bit.

    Raises:
        ValueError: a number is not finite, or too large for the kind.
    """
    if not np.isfinite(values).all():
        raise ValueError("a state is not finite; leave its text out")
    if kept is Kept.BFLOAT16:
        bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
        found = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    else:
        with np.errstate(over="ignore"):  # said below
            found = values.astype(kept.dtype)
    if not is_finite(found, kept):
        largest = float(np.abs(values).max())
        raise ValueError(
            f"a state has a magnitude of {largest:.4g}, more than {kept.value} holds; keep bfloat16"
        )
    return found


def is_finite(values: NDArray[Any], kept: Kept) -> bool:
    """True where no number is infinite or none."""
    if kept is Kept.BFLOAT16:
        return bool(((values & _EXPONENT) != _EXPONENT).all())
    return bool(np.isfinite(values).all())
