"""Dimensions in which a model's states are huge whatever it reads, and which drown all others."""

import numpy as np
from numpy.typing import NDArray

from overnight.traits.labelled import Floats


def massive_dimensions(states: Floats, times_median: float) -> NDArray[np.int64]:
    """Return the dimensions whose mean magnitude is at least so many times the median dimension's.

    Both sides of a trait count alike, so that no label decides which dimensions are dropped.

    Args:
        states: ``[n, d]``.
        times_median: above 1; Sun et al. call an activation massive from 1,000 times the median on, single dimensions
            of every token stand out from some 20 on.

    Raises:
        ValueError: ``times_median`` is not above 1.

    Source:
        Sun, Chen, Kolter & Liu (2024), arXiv:2402.17762.
    """
    if not times_median > 1:
        raise ValueError(f"times_median={times_median}; want more than 1")
    magnitude = np.abs(states).mean(axis=0)
    return np.flatnonzero((magnitude >= times_median * np.median(magnitude)) & (magnitude > 0))
