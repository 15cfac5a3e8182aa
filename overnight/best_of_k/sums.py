"""What vectors and their reconstructions add to every measure of recovery: sums, which shards add up.

Shapes: N vectors of D dimensions, from C sources (the sequences they were taken from), at K numbers of draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overnight.stats.pairs import FloatArray

# The axis along which a sum is by source; those that are not named are over all sources.
_SOURCE_AXIS = {
    "n": 0,
    "x": 0,
    "x_squares": 0,
    "n_cosine": 0,
    "residual": 1,
    "residual_squares": 1,
    "mean_residual_squares": 1,
    "cosine": 1,
}
_OVER_SOURCES = ("x_squares_by_dimension", "residual_squares_by_dimension")
_FIRST_PLACES = 16
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecoverySums:
    """Sufficient statistics of recovery, by source; all of float64.

    A residual is x - reconstruction. What a vector adds at some number of draws is the expectation over the draw that
    is kept there, so nothing here depends on the order of draws, vectors or shards but by rounding.
    """

    ks: tuple[int, ...]  # numbers of draws
    origin: (
        FloatArray  # [D]; x is counted from here, so that a mean far from 0 takes no digits from the spread
    )
    sources: tuple[str, ...]  # C, sorted
    n: FloatArray  # [C] vectors
    x: FloatArray  # [C, D] sums of x - origin
    x_squares: FloatArray  # [C] sums of |x - origin|^2
    x_squares_by_dimension: FloatArray  # [D], over all sources
    residual: FloatArray  # [K, C, D] sums of the expected residual
    residual_squares: FloatArray  # [K, C] sums of the expected |residual|^2
    residual_squares_by_dimension: FloatArray  # [K, D], over all sources
    mean_residual_squares: FloatArray  # [K, C] sums of |expected residual|^2
    cosine: FloatArray  # [K, C] sums of the expected cosine, over the vectors that have one
    n_cosine: FloatArray  # [C] vectors that have one: neither they nor a reconstruction of theirs is zero
    n_short: int = 0  # vectors left out, since fewer draws of theirs succeeded than the largest of ks

    @property
    def n_vectors(self) -> int:
        """Number of vectors in the sums."""
        return int(self.n.sum())

    @property
    def n_dimensions(self) -> int:
        """D."""
        return len(self.origin)


class RecoveryTally:
    """Sums that vectors are added to one at a time; holds (K + 1) x D numbers for every source."""

    def __init__(
        self,
        ks: Sequence[int],
        n_dimensions: int,
        origin: FloatArray | None = None,
        *,
        n_sources: int = _FIRST_PLACES,
    ) -> None:
        """Begin with nothing; ``n_sources``, as many as will come, only saves time."""
        self._ks = tuple(ks)
        self._origin = np.zeros(n_dimensions) if origin is None else np.array(origin, dtype=np.float64)
        if self._origin.shape != (n_dimensions,) or not np.isfinite(self._origin).all():
            raise ValueError(f"an origin of shape {self._origin.shape}; want ({n_dimensions},), finite")
        if not self._ks or min(self._ks) < 1 or len(set(self._ks)) < len(self._ks):
            raise ValueError(f"K of {list(ks)}; want at least one, each once and at least 1")
        self._places: dict[str, int] = {}
        self._held = _empty(self._ks, self._origin, ("",) * max(1, n_sources))
        self._n_short = 0

    def add(self, source: str, x: NDArray[Any], reconstructions: NDArray[Any], weights: FloatArray) -> None:
        """Add one vector.

        Args:
            source: the sequence that it was taken from: the unit of resampling.
            x: ``[D]`` in any kind of float.
            reconstructions: ``[n, D]``, one a draw; what a draw that failed has here is not looked at.
            weights: ``[K, n]``, the chance of each draw to be kept at each number of draws; rows sum to 1.

        Raises:
            ValueError: the shapes do not agree, a number is not finite, or weights are no chances.
        """
        x = np.asarray(x, dtype=np.float64)
        is_used = weights.any(axis=0) if weights.ndim == 2 else np.zeros(0, dtype=np.bool_)  # noqa: PLR2004
        wanted = (len(self._ks), len(reconstructions))
        if (
            weights.shape != wanted
            or (weights < 0).any()
            or (abs(weights.sum(axis=1) - 1.0) > _ROUNDING).any()
        ):
            raise ValueError(
                f"weights of shape {weights.shape}, want {wanted}, no less than 0, rows of sum 1"
            )
        kept = np.asarray(reconstructions[is_used], dtype=np.float64)
        if x.shape != self._origin.shape or kept.shape[1:] != x.shape:
            raise ValueError(f"x of {x.shape}, reconstructions of {kept.shape}; want D={len(self._origin)}")
        chances = weights[:, is_used]
        residuals = x - kept
        squares = np.square(residuals)
        own_squares = squares.sum(axis=1)
        if not np.isfinite(own_squares).all():
            raise ValueError(f"a vector of {source}, or a reconstruction of it, is not finite")
        at, into = self._place(source), self._held
        mean_residual = chances @ residuals
        by_dimension = chances @ squares
        shifted = x - self._origin
        into.n[at] += 1.0
        into.x[at] += shifted
        into.x_squares[at] += shifted @ shifted
        into.x_squares_by_dimension[:] += shifted * shifted
        into.residual[:, at] += mean_residual
        into.residual_squares[:, at] += chances @ own_squares
        into.residual_squares_by_dimension[:] += by_dimension
        into.mean_residual_squares[:, at] += np.square(mean_residual).sum(axis=1)
        lengths = np.sqrt(np.einsum("nd,nd->n", kept, kept)) * np.linalg.norm(x)
        if (lengths > 0.0).all():
            into.cosine[:, at] += chances @ np.clip(kept @ x / lengths, -1.0, 1.0)
            into.n_cosine[at] += 1.0

    def leave_out(self, n_vectors: int = 1) -> None:
        """Count vectors of which too few draws succeeded; they are in no sum, at no number of draws."""
        self._n_short += n_vectors

    def sums(self) -> RecoverySums:
        """Return what was added so far."""
        names = tuple(sorted(self._places))
        order = [self._places[name] for name in names]
        taken: dict[str, Any] = {
            name: np.take(getattr(self._held, name), order, axis) for name, axis in _SOURCE_AXIS.items()
        }
        taken |= {name: getattr(self._held, name).copy() for name in _OVER_SOURCES}
        return RecoverySums(ks=self._ks, origin=self._origin, sources=names, n_short=self._n_short, **taken)

    def _place(self, source: str) -> int:
        """Return where a source's sums are; there is room for twice as many whenever it runs out."""
        if len(self._places) == len(self._held.n) and source not in self._places:
            more = _empty(self._ks, self._origin, ("",) * (2 * len(self._held.n)))
            _add(self._held, more, list(range(len(self._held.n))))
            self._held = more
        return self._places.setdefault(source, len(self._places))


def merge(shards: Sequence[RecoverySums]) -> RecoverySums:
    """Add shards up; a source may be in several.

    Raises:
        ValueError: none, or they differ in their numbers of draws or in their origin.
    """
    if not shards:
        raise ValueError("no sums to add up")
    first = shards[0]
    for each in shards:
        if each.ks != first.ks or not np.array_equal(each.origin, first.origin):
            raise ValueError("sums of other numbers of draws, or from another origin, cannot be added")
    names = tuple(sorted({source for each in shards for source in each.sources}))
    place = {name: index for index, name in enumerate(names)}
    joined = _empty(first.ks, first.origin, names, sum(each.n_short for each in shards))
    for each in shards:
        _add(each, joined, [place[source] for source in each.sources])
    return joined


def _add(part: RecoverySums, into: RecoverySums, places: list[int]) -> None:
    for name, axis in _SOURCE_AXIS.items():
        getattr(into, name)[(slice(None),) * axis + (places,)] += getattr(part, name)
    for name in _OVER_SOURCES:
        getattr(into, name)[:] += getattr(part, name)


def _empty(
    ks: tuple[int, ...], origin: FloatArray, sources: tuple[str, ...], n_short: int = 0
) -> RecoverySums:
    n_ks, n_sources, d = len(ks), len(sources), len(origin)
    return RecoverySums(
        ks=ks,
        origin=origin,
        sources=sources,
        n=np.zeros(n_sources),
        x=np.zeros((n_sources, d)),
        x_squares=np.zeros(n_sources),
        x_squares_by_dimension=np.zeros(d),
        residual=np.zeros((n_ks, n_sources, d)),
        residual_squares=np.zeros((n_ks, n_sources)),
        residual_squares_by_dimension=np.zeros((n_ks, d)),
        mean_residual_squares=np.zeros((n_ks, n_sources)),
        cosine=np.zeros((n_ks, n_sources)),
        n_cosine=np.zeros(n_sources),
        n_short=n_short,
    )
