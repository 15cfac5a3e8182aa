"""States of texts on two sides, as one table of rows with labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
_TABLE = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """States at one point, the positive ones first."""

    states: Floats  # [n + m, d]
    is_positive: Bools  # [n + m]
    pair_of: NDArray[np.int64]  # [n + m], the number of a row's pair; [0] where there are no pairs

    @classmethod
    def of(cls, positive: NDArray[Any], negative: NDArray[Any], *, is_paired: bool) -> "Labelled":
        """Return the rows of two sides, ``[n, d]`` and ``[m, d]``.

        Raises:
            ValueError: the shapes do not agree, or a state is no float or not finite.
        """
        if positive.ndim != _TABLE or negative.ndim != _TABLE or positive.shape[1] != negative.shape[1]:
            raise ValueError(
                f"states of shapes {positive.shape} and {negative.shape}; want [n, d] and [m, d]"
            )
        if is_paired and len(positive) != len(negative):
            raise ValueError(f"{len(positive)} positive and {len(negative)} negative states are no pairs")
        for side in (positive, negative):
            if not np.issubdtype(side.dtype, np.floating):  # the bits of bfloat16 would pass for numbers
                raise ValueError(f"states of {side.dtype}; want floats (`widen` makes them of kept bits)")
        states = np.concatenate([positive, negative]).astype(np.float64)
        if not np.isfinite(states).all():
            raise ValueError("a state is not finite; leave its text out")
        return cls(
            states=states,
            is_positive=np.repeat([True, False], [len(positive), len(negative)]),
            pair_of=np.tile(np.arange(len(positive)), 2) if is_paired else np.empty(0, dtype=np.int64),
        )
