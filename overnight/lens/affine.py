"""Affine maps between vectors, fitted in closed form, with the penalty that serves vectors of other texts best."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

PENALTIES: Final = tuple(float(each) for each in np.logspace(-6, 2, 17))


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """The map ``x -> weight x + bias``."""

    weight: Float64  # [E, D]
    bias: Float64  # [E]
    penalty: float  # on standardised inputs; in units of the number of rows
    explained: float | None  # share of the variance of the held-out targets; None where these do not vary

    def __call__(self, inputs_ND: NDArray[np.floating]) -> Float64:  # noqa: N803 - the letters are its axes
        """Return ``[N, E]``, the images of the rows."""
        return inputs_ND.astype(np.float64) @ self.weight.T + self.bias


def fit_affine(
    inputs_ND: Float32,  # noqa: N803 - the letters are its axes
    targets_NE: Float32,  # noqa: N803
    held_inputs_MD: Float32,  # noqa: N803
    held_targets_ME: Float32,  # noqa: N803
    penalty: float | None = None,
) -> Affine:
    """Return the map with the least ``mean |y - W x - b|^2 + penalty |W S|^2``, in float64.

    Ridge regression (Hoerl & Kennard 1970, Technometrics 12(1):55-67) on standardised inputs, ``S`` being the diagonal
    of their standard deviations; the constant is not penalised. It is scikit-learn's ``Ridge(alpha=penalty * N)``.

    Args:
        inputs_ND: what is mapped.
        targets_NE: to what.
        held_inputs_MD: of other texts; at least one row.
        held_targets_ME: likewise.
        penalty: None for the one of `PENALTIES` that explains the held-out targets best.
    """
    n = len(inputs_ND)
    inputs, targets = inputs_ND.astype(np.float64), targets_NE.astype(np.float64)
    input_mean, target_mean = inputs.mean(axis=0), targets.mean(axis=0)
    spread = inputs.std(axis=0)
    spread[spread == 0] = 1  # what never varies explains nothing
    standard = (inputs - input_mean) / spread
    eigenvalues, axes = np.linalg.eigh(standard.T @ standard / n)
    along = axes.T @ (standard.T @ (targets - target_mean)) / n  # [D, E]
    eigenvalues = np.maximum(eigenvalues, 0)  # rounding
    held = ((held_inputs_MD.astype(np.float64) - input_mean) / spread) @ axes
    wanted = held_targets_ME.astype(np.float64) - target_mean
    variation = float(((wanted - wanted.mean(axis=0)) ** 2).sum())

    def error(each: float) -> float:
        return float(((wanted - (held * _inverse(eigenvalues, each)) @ along) ** 2).sum())

    chosen = min(PENALTIES, key=error) if penalty is None else penalty
    weight = ((axes * _inverse(eigenvalues, chosen)) @ along / spread[:, None]).T
    return Affine(
        weight=weight,
        bias=target_mean - weight @ input_mean,
        penalty=chosen,
        explained=1 - error(chosen) / variation if variation > 0 else None,
    )


def explained(vectors_ND: NDArray[np.floating], found_ND: NDArray[np.floating]) -> float | None:  # noqa: N803
    """Return ``1 - sum |x - found|^2 / sum |x - mean|^2``: 1 is exact, 0 what the mean does; None without variation."""
    vectors = vectors_ND.astype(np.float64)
    variation = float(((vectors - vectors.mean(axis=0)) ** 2).sum())
    return 1 - float(((vectors - found_ND) ** 2).sum()) / variation if variation > 0 else None


def _inverse(eigenvalues: Float64, penalty: float) -> Float64:
    shifted = eigenvalues + penalty
    # Without a penalty the shortest of all exact maps: nothing along axes on which the inputs do not vary.
    return np.where(
        shifted > np.finfo(np.float64).eps * max(eigenvalues.max(), 1.0), 1 / np.maximum(shifted, 1e-300), 0
    )
