"""From states of texts that show a trait and of texts that lack it to the direction that tells them apart.

Every direction is one of ``[d]``, of length one, and points from the negative side to the positive one.
"""

import warnings
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overnight.errors import UndefinedMetricError
from overnight.stats.rng import stream
from overnight.traits.labelled import Bools, Floats, Labelled
from overnight.traits.massive import massive_dimensions

# Goes up whenever the same states give another direction.
METHODS_VERSION = 1
_PROBE_C = 1.0
_PROBE_ITERATIONS = 1000
_ADAM_STEPS = 100
_ADAM_RATE = 0.01
_ADAM_BETAS = (0.9, 0.999)
_ADAM_EPSILON = 1e-8
_NORM_PENALTY = 0.01
# Of the length of a typical state. States are computed in 16 or 32 bits, and what is smaller is their rounding.
_ROUNDING = 1e-6


class Method(StrEnum):
    """How a direction is found."""

    MEAN_DIFFERENCE = "mean_difference"
    PROBE = "probe"
    GRADIENT = "gradient"
    PCA = "pca"
    RANDOM = "random"  # no method: what any direction would give

    @property
    def is_fast(self) -> bool:
        """True where a thousand directions take less than a second, so that nulls at every point cost nothing."""
        return self in {Method.MEAN_DIFFERENCE, Method.RANDOM}


def direction(
    method: Method,
    positive: NDArray[Any],
    negative: NDArray[Any],
    *,
    is_paired: bool,
    seed: int = 0,
    drop_massive: float | None = None,
) -> NDArray[np.float32]:
    """Return the direction of a trait.

    Args:
        method: how it is found.
        positive: ``[n, d]`` states of texts that show the trait.
        negative: ``[m, d]`` of texts that lack it; where paired, ``m = n`` and row i belongs to row i.
        is_paired: whether the rows are pairs.
        seed: of the random direction, and of where the gradient begins.
        drop_massive: how many times the median a dimension's mean magnitude has to be for it to count as massive; the
            direction is found without these and is 0 in them. None: all dimensions count.

    Returns:
        ``[d]``, of length one.

    Raises:
        UndefinedMetricError: the states do not say which way: a side is empty, the two sides are the same, no single
            component is the first one.
        ValueError: the shapes do not agree, or a state is not finite.
    """
    labelled = Labelled.of(positive, negative, is_paired=is_paired)
    found = find(method, labelled, labelled.is_positive, seed=seed, drop_massive=drop_massive)
    return found.astype(np.float32)


def find(
    method: Method, rows: Labelled, is_positive: Bools, *, seed: int, drop_massive: float | None
) -> Floats:
    """Return the direction for some rows under some labels, ``[d]`` of length one in double precision.

    As ``direction``, for labels that need not be the rows' own.
    """
    states = rows.states
    if not is_positive.any() or is_positive.all():
        raise UndefinedMetricError("all texts are on one side; a direction takes texts of both")
    keep = np.ones(states.shape[1], dtype=np.bool_)
    if drop_massive is not None:
        keep[massive_dimensions(states, drop_massive)] = False
    if not keep.any():
        raise UndefinedMetricError("every dimension is massive; drop fewer")
    within = _FINDERS[method](states[:, keep], is_positive, rows.pair_of, seed)
    whole = np.zeros(states.shape[1])
    whole[keep] = within / np.linalg.norm(within)
    return whole


def _mean_difference(states: Floats, is_positive: Bools, _pair_of: NDArray[np.int64], _seed: int) -> Floats:
    """Return mean(p) - mean(n)."""
    found = states[is_positive].mean(axis=0) - states[~is_positive].mean(axis=0)
    if np.linalg.norm(found) <= _ROUNDING * _typical_length(states):
        raise UndefinedMetricError("the two sides have the same mean; there is no direction between them")
    return np.asarray(found)


def _probe(states: Floats, is_positive: Bools, _pair_of: NDArray[np.int64], _seed: int) -> Floats:
    """Return the coefficients of a logistic regression on rows of length one (C = 1, with an intercept).

    Long states would otherwise count for more, and C would mean something else at every layer. A row's length is one
    number, so coefficients of rows of length one are coefficients of the states: nothing is to be turned back.
    """
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415 - takes most of a second
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    lengths = np.linalg.norm(states, axis=1, keepdims=True)
    if not lengths.all():
        raise UndefinedMetricError("a state is zero; it has no direction for a probe to look at")
    fit = LogisticRegression(C=_PROBE_C, max_iter=_PROBE_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # said below
        fit.fit(states / lengths, is_positive)
    if fit.n_iter_[0] >= _PROBE_ITERATIONS:
        raise UndefinedMetricError(f"the probe did not converge in {_PROBE_ITERATIONS} iterations")
    found = np.asarray(fit.coef_[0], dtype=np.float64)
    if np.linalg.norm(found) <= _ROUNDING:
        raise UndefinedMetricError("the probe found no difference between the two sides")
    return found


def _gradient(states: Floats, is_positive: Bools, pair_of: NDArray[np.int64], seed: int) -> Floats:
    """Return where 100 steps of Adam (rate .01) lead that maximise mean(p.u) - mean(n.u) - .01 |v|, u = v / |v|.

    With D = mean(p) - mean(n) the gradient is (D - (u.D) u) / |v| - .01 u, so that no state is looked at twice. The
    maximum is the mean difference; 100 steps of equal size in all dimensions end between it and its signs.

    Deviation: the search starts from a normal vector of expected length one and not of sqrt(d), from which 100 steps
    of .01 do not get away. Adam: Kingma & Ba (2015), arXiv:1412.6980, algorithm 1.
    """
    difference = _mean_difference(states, is_positive, pair_of, seed)
    n_dimensions = len(difference)
    at = stream(seed, "gradient").standard_normal(n_dimensions) / np.sqrt(n_dimensions)
    first, second = np.zeros(n_dimensions), np.zeros(n_dimensions)
    for step in range(1, _ADAM_STEPS + 1):
        length = np.linalg.norm(at)
        unit = at / length
        slope = -((difference - (unit @ difference) * unit) / length - _NORM_PENALTY * unit)
        first = _ADAM_BETAS[0] * first + (1 - _ADAM_BETAS[0]) * slope
        second = _ADAM_BETAS[1] * second + (1 - _ADAM_BETAS[1]) * slope**2
        mean, square = first / (1 - _ADAM_BETAS[0] ** step), second / (1 - _ADAM_BETAS[1] ** step)
        at = at - _ADAM_RATE * mean / (np.sqrt(square) + _ADAM_EPSILON)
    return np.asarray(at)


def _pca(states: Floats, is_positive: Bools, pair_of: NDArray[np.int64], seed: int) -> Floats:
    """Return the first component of the differences of pairs, or of all centred states where there are no pairs.

    Differences are not centred: their mean is what the trait does, and taking it away would leave how pairs differ in
    it. That is the component of the differences taken both ways round (Zou et al. 2023, arXiv:2310.01405).

    A component has no sign. It gets the one under which positive texts project higher on average, so that a high
    projection means more of the trait, as with every other method.
    """
    if pair_of.size:
        order = np.argsort(pair_of, kind="stable")
        is_first = is_positive[order]
        found = _first_component(states[order[is_first]] - states[order[~is_first]])
    else:
        found = _first_component(states - states.mean(axis=0))
    way = found @ _mean_difference(states, is_positive, pair_of, seed)
    if abs(way) <= _ROUNDING * _typical_length(states):
        raise UndefinedMetricError("both sides project alike on the first component; it has no sign")
    return np.asarray(found * np.sign(way))


def _first_component(rows: Floats) -> Floats:
    """Return the direction in which the sum of squares of ``[n, d]`` is largest, from the smaller of two products."""
    n_rows, n_dimensions = rows.shape
    is_wide = n_rows < n_dimensions
    values, vectors = np.linalg.eigh(rows @ rows.T if is_wide else rows.T @ rows)
    if values[-1] <= 0 or (len(values) > 1 and values[-1] - values[-2] <= _ROUNDING * values[-1]):
        raise UndefinedMetricError(
            "no component is the first one: all differences are zero, or two are equal"
        )
    found = rows.T @ vectors[:, -1] if is_wide else vectors[:, -1]
    return np.asarray(found / np.linalg.norm(found))


def _random(states: Floats, _is_positive: Bools, _pair_of: NDArray[np.int64], seed: int) -> Floats:
    """Return a direction that knows nothing of the states, uniform on the sphere."""
    return np.asarray(stream(seed, "random direction").standard_normal(states.shape[1]))


def _typical_length(states: Floats) -> float:
    return float(np.sqrt(np.mean(np.einsum("nd,nd->n", states, states))))


_Finder = Callable[[Floats, Bools, NDArray[np.int64], int], Floats]
_FINDERS: dict[Method, _Finder] = {
    Method.MEAN_DIFFERENCE: _mean_difference,
    Method.PROBE: _probe,
    Method.GRADIENT: _gradient,
    Method.PCA: _pca,
    Method.RANDOM: _random,
}
