"""What a measure of uncertainty is judged on: items that have both a score and a label of right or wrong."""

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overnight.stats.clusters import Codes, cluster_codes
from overnight.stats.pairs import FloatArray

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoredItems:
    """One measure and one label, aligned by item; keys are in sorted order, so that no order of rows matters."""

    keys: tuple[str, ...]
    uncertainty: FloatArray  # [N] higher is less certain
    is_wrong: BoolArray  # [N]
    n_without_score: int  # items that have a label alone
    n_without_label: int
    clusters: Codes | None = None  # [N] items that stand or fall together; None: each is one of its own

    @property
    def n_items(self) -> int:
        """Number of items with a score and a label."""
        return len(self.keys)

    @property
    def n_clusters(self) -> int:
        """Number of independent units: items, or clusters of them."""
        return self.n_items if self.clusters is None else len(np.unique(self.clusters))

    @property
    def n_wrong(self) -> int:
        """Number of wrong answers, the class that a measure should find."""
        return int(self.is_wrong.sum())

    @property
    def n_right(self) -> int:
        """Number of right answers."""
        return self.n_items - self.n_wrong

    @property
    def correctness(self) -> FloatArray:
        """``[N]``, 1 for a right answer and 0 for a wrong one."""
        return 1.0 - self.is_wrong.astype(np.float64)

    @property
    def missing_share(self) -> float | None:
        """Share in [0, 1] of the items with a label that have no score; None without any."""
        n_labelled = self.n_items + self.n_without_score
        return self.n_without_score / n_labelled if n_labelled else None

    @property
    def tie_share(self) -> float | None:
        """Share in [0, 1] of the pairs of a wrong and a right answer whose scores tie; None without a pair."""
        n_pairs = self.n_wrong * self.n_right
        if not n_pairs:
            return None
        _, group = np.unique(self.uncertainty, return_inverse=True)
        wrong = np.bincount(group, weights=self.is_wrong)
        return float(wrong @ (np.bincount(group) - wrong)) / n_pairs

    def only(self, keys: AbstractSet[str]) -> "ScoredItems":
        """Return the same measure over some of its items; what was missing is no longer counted."""
        kept = np.array([key in keys for key in self.keys], dtype=np.bool_)
        return ScoredItems(
            keys=tuple(key for key in self.keys if key in keys),
            uncertainty=self.uncertainty[kept],
            is_wrong=self.is_wrong[kept],
            n_without_score=0,
            n_without_label=0,
            clusters=None if self.clusters is None else _shared(self.clusters[kept]),
        )


def scored_items(
    uncertainty: Mapping[str, float | None],
    is_right: Mapping[str, bool | None],
    clusters: Mapping[str, str] | None = None,
) -> ScoredItems:
    """Align scores and labels by item key; None, like an absent key, says that an item has none.

    Args:
        uncertainty: by item key.
        is_right: by item key.
        clusters: by item key, what an item shares with others; one without is a cluster of its own.

    Raises:
        ValueError: a score is not finite: a measure that has no value is None.
    """
    for key, score in uncertainty.items():
        if score is not None and not math.isfinite(score):
            raise ValueError(f"uncertainty of item {key} is {score}; write None where it is undefined")
    keys = sorted(uncertainty.keys() | is_right.keys())
    labelled = [key for key in keys if is_right.get(key) is not None]
    both = [key for key in labelled if uncertainty.get(key) is not None]
    return ScoredItems(
        keys=tuple(both),
        uncertainty=np.array([uncertainty[key] for key in both], dtype=np.float64),
        is_wrong=np.array([not is_right[key] for key in both], dtype=np.bool_),
        n_without_score=len(labelled) - len(both),
        n_without_label=len(keys) - len(labelled),
        clusters=cluster_codes(both, clusters),
    )


def _shared(codes: Codes) -> Codes | None:
    """Return codes from 0 on, or None where no two items share one."""
    names, numbers = np.unique(codes, return_inverse=True)
    return None if len(names) == len(codes) else numbers.astype(np.intp)
