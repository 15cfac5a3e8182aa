"""Items that both arms answered, side by side."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """The values of one metric, aligned by item; keys are in sorted order everywhere."""

    keys: tuple[str, ...]
    control: FloatArray  # [n_pairs]
    treatment: FloatArray  # [n_pairs]
    unpaired: tuple[str, ...]  # has a row in one arm only, and the metric is defined there
    half_defined: tuple[str, ...]  # has both rows, the metric is defined in one of them (one arm abstained)
    undefined: tuple[str, ...]  # the metric is defined in neither arm: no row of this metric

    @property
    def n_pairs(self) -> int:
        """Number of items compared."""
        return len(self.keys)

    @property
    def differences(self) -> FloatArray:
        """``[n_pairs]``, treatment - control."""
        return self.treatment - self.control

    @property
    def pairing_rate(self) -> float | None:
        """Share in [0, 1] of the defined rows that have a partner: 2 * pairs / rows; None without rows."""
        n_rows = 2 * len(self.keys) + len(self.unpaired) + len(self.half_defined)
        return 2 * len(self.keys) / n_rows if n_rows else None


def pair(control: Mapping[str, float | None], treatment: Mapping[str, float | None]) -> Pairs:
    """Align two arms by item key; None says that the metric is undefined for the item in that arm.

    Raises:
        ValueError: a value is not finite.
    """
    for arm, values in (("control", control), ("treatment", treatment)):
        for key, value in values.items():
            if value is not None and not math.isfinite(value):
                raise ValueError(
                    f"{arm} value of item {key} is {value}; write None where a metric is undefined"
                )

    keys: list[str] = []
    unpaired: list[str] = []
    half_defined: list[str] = []
    undefined: list[str] = []
    for key in sorted(control.keys() | treatment.keys()):
        is_defined = {control.get(key) is not None, treatment.get(key) is not None}
        if is_defined == {True}:
            keys.append(key)
        elif is_defined == {False}:
            undefined.append(key)
        elif key in control and key in treatment:
            half_defined.append(key)
        else:
            unpaired.append(key)
    return Pairs(
        keys=tuple(keys),
        control=np.array([control[key] for key in keys], dtype=np.float64),
        treatment=np.array([treatment[key] for key in keys], dtype=np.float64),
        unpaired=tuple(unpaired),
        half_defined=tuple(half_defined),
        undefined=tuple(undefined),
    )
