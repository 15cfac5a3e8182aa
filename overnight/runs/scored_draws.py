"""The vectors of a trial of which enough draws succeeded, in the order of their index, a chunk at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from overnight.best_of_k.results import Counted
from overnight.best_of_k.vector import Vector
from overnight.errors import StopRequested
from overnight.runs.drawn import Drawn
from overnight.spec.best_of_k import BestOfKExperiment


class Vectors(Protocol):
    """The vectors of a model and layer, of all datasets."""

    @property
    def vectors(self) -> Sequence[Vector]:
        """In the order of their index."""
        ...

    @property
    def left_out(self) -> Sequence[Mapping[str, Any]]:
        """Texts that have none, each with its dataset."""
        ...

    def rows(self, first: int, end: int) -> NDArray[np.float32]:
        """Return ``[end - first, D]``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoredDraws:
    """What the selectors and baselines of a trial go through, each by itself."""

    vectors: Vectors
    drawn: Drawn
    ks: tuple[int, ...]  # that are measured; ascending
    through: NDArray[np.intp]  # indices of the trial's vectors whose draws are done
    places: NDArray[np.intp]  # [V] of those that have draws enough for the largest of ks
    sources: tuple[str, ...]  # [V]
    counted: Counted
    should_stop: Callable[[], bool]

    @classmethod
    def of(
        cls,
        vectors: Vectors,
        drawn: Drawn,
        experiment: BestOfKExperiment,
        dataset: str | None,
        should_stop: Callable[[], bool],
    ) -> Self:
        """Return the vectors of a dataset (None: of all) that can be measured.

        All K are measured on the same vectors, those that have draws enough for the largest. A K for which most
        vectors have too few is left out instead, and does not take the others with it.
        """
        own = np.array([dataset in (None, each.dataset) for each in vectors.vectors], dtype=np.bool_)
        through = np.array([place for place in drawn.vectors if own[place]], dtype=np.intp)
        n_usable = drawn.is_answered[through].sum(axis=1)
        every_k = tuple(sorted(experiment.k_values))
        ks = tuple(k for k in every_k if len(through) and 2 * int((n_usable >= k).sum()) >= len(through))
        places = through[n_usable >= max(ks)] if ks else through[:0]
        sources = tuple(vectors.vectors[place].source for place in places)
        counted = Counted(
            n_wanted=int(own.sum()),
            n_drawn=len(through),
            n_measured=len(places),
            n_sources=len(set(sources)),
            n_left_out=sum(dataset in (None, each.get("dataset")) for each in vectors.left_out),
            n_draws=drawn.n_draws,
            n_failed_draws=int((~drawn.is_answered[through]).sum()),
            n_dimensions=vectors.rows(0, 1).shape[1] if len(own) else None,
            every_k=every_k,
            ks=ks,
        )
        return cls(
            vectors=vectors,
            drawn=drawn,
            ks=ks,
            through=through,
            places=places,
            sources=sources,
            counted=counted,
            should_stop=should_stop,
        )

    def each(self, places: NDArray[np.intp]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield the index and the row ``[D]`` of some of the vectors, with no more than a chunk in memory.

        Raises:
            StopRequested: somebody asked for the run to stop.
        """
        for chunk in self.drawn.chunks:
            if self.should_stop():
                raise StopRequested("the draws are there; what they recover is left to be said")
            end = chunk.first + chunk.n
            own = places[(places >= chunk.first) & (places < end)]
            if len(own):
                rows = self.vectors.rows(chunk.first, end)
                for place in own.tolist():
                    yield place, rows[place - chunk.first]

    @property
    def n_short(self) -> int:
        """Vectors that have too few draws."""
        return len(self.through) - len(self.places)
