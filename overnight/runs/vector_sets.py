"""The vectors of a run: states of single tokens of its texts, read where nobody has read them before.

What a model has read is kept in the cache by what it depends on, row by row, for any run, with however many processes
it was read; a run has a copy of what it needs, so that its folder can be read alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from overnight.activations.points import Component, Point, labels
from overnight.activations.request import SequenceInput
from overnight.best_of_k.places import PlacesRequest, TextPlaces
from overnight.best_of_k.vector import Vector
from overnight.engines.transformers.client import TransformersEngine
from overnight.errors import StopRequested, StoreError, UsageError
from overnight.ids import digest
from overnight.planning.identity import weights_identity
from overnight.prompting.messages import Message
from overnight.records import Item
from overnight.runs.placed_states import WantedStates, keep_placed
from overnight.spec.model import ModelSpec
from overnight.spec.positions import VectorPositions
from overnight.vectors.floats import Kept
from overnight.vectors.key import StateKey
from overnight.vectors.row_file import BLOCK_ROWS
from overnight.vectors.states import Mode, StateStore
from overnight.vectors.vector_set import MARKER, SCHEMA_VERSION, VectorSet, write_vector_set

__all__ = ["VectorSet", "key_of", "point_of", "source_of", "state_key", "text_of", "vectors_of"]

_POSITIONS = "one token"
_RENDERING = "texts as they are, conversations by the model's chat template"
_ASKED_AT_ONCE = 256  # texts whose tokens are asked for in one request


async def vectors_of(
    folder: Path,
    items: Sequence[Item],
    model: ModelSpec,
    layer: int,
    positions: VectorPositions,
    max_per_dataset: int | None,
    kept: Kept | str,
    engines: Sequence[TransformersEngine],
    mode: Mode = Mode.CACHED,
    should_stop: Callable[[], bool] = lambda: False,
    batch: int | None = None,
) -> VectorSet:
    """Return the vectors of some texts, written into a folder; the model reads those that it has not read yet.

    Args:
        folder: of the run, for the vectors of this model and layer.
        items: texts and conversations, dataset by dataset.
        model: that the engines hold.
        layer: whose ``residual_out`` is taken, from 0.
        positions: which tokens of a text.
        max_per_dataset: vectors of a dataset at most, the first ones; None: all.
        kept: the kind of number that they are kept in.
        engines: each holds the model; they share what is missing.
        mode: whether states that are kept are used.
        should_stop: looked at before each request.
        batch: texts that are read together, at most; None: as many as an engine takes.

    Raises:
        UsageError: no text has such a token, or the model has no such layer; states are missing in mode ``read-only``.
        OutOfMemory: a text does not fit, not even alone.
        StopRequested: somebody asked the run to stop.
        EngineError: an engine is gone for good.
    """
    key = state_key(model, layer, Kept(kept))
    sources = [(item, source_of(item)) for item in items]
    name = digest(
        [SCHEMA_VERSION, key.as_dict(), positions.model_dump(mode="json"), max_per_dataset]
        + [[item.dataset, item.item_id, source.id] for item, source in sources]
    )
    if (made := _made_before(folder, name)) is not None:
        return made  # forcing is once a run, not once a trial
    chosen = await _Choosing(engines[0], positions, max_per_dataset, should_stop).of(sources)
    store = StateStore(key, mode=mode)
    wanted = WantedStates(point=point_of(layer), rows=chosen.wanted)
    read = await keep_placed(store, wanted, engines, should_stop, batch)
    vectors, left_out = chosen.without(read.failures)
    if not vectors:
        why = f"; the first: {left_out[0]['why']}" if left_out else ""
        raise UsageError(f"experiment.positions: no text has a token that may be taken{why}")
    facts = {
        "name": name,
        "n_read": read.n_read,
        "halvings": read.halvings,
        "seconds": round(read.seconds, 3),
    }
    write_vector_set(folder, key, store, vectors, left_out, facts)
    return VectorSet.read(folder)


def point_of(layer: int) -> Point:
    """Return what vectors are read from."""
    return Point(layer, Component.RESIDUAL_OUT)


def state_key(model: ModelSpec, layer: int, kept: Kept) -> StateKey:
    """Return what vectors depend on, beside the text and the position."""
    return StateKey(
        model_digest=digest(weights_identity(model)),
        held=model.held_in_bits or model.compute_dtype,
        points=tuple(labels([point_of(layer)])),
        positions=_POSITIONS,
        rendering=_RENDERING,
        kept=kept,
    )


def source_of(item: Item) -> SequenceInput:
    """Return what the model reads of an item, its conversation or its text, named by the digest of what it says."""
    if not item.turns:
        return SequenceInput(id=text_of(item), text=item.question)
    return SequenceInput(
        id=text_of(item),
        messages=tuple(Message(role=role, content=content) for role, content in item.turns),
        is_whole=True,
    )


def text_of(item: Item) -> str:
    """Return the digest of what an item says, whatever it is called: positions and states are found by it."""
    return digest([list(turn) for turn in item.turns] if item.turns else item.question)


def key_of(text: str, position: int) -> str:
    """Return the key of a vector, the digest of a text and a position."""
    return digest([text, position])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """Which tokens are taken, and of what nothing is."""

    vectors: tuple[Vector, ...]
    left_out: tuple[dict[str, str], ...]
    wanted: Mapping[str, tuple[SequenceInput, int]]  # by key: the text and the position

    def without(self, failures: Mapping[str, str]) -> tuple[list[Vector], list[dict[str, str]]]:
        """Return the vectors that there are, numbered, and what is left out; ``failures`` say by key why."""
        there = [vector for vector in self.vectors if vector.key not in failures]
        gone = [
            {"dataset": each.dataset, "item_id": each.item_id, "why": failures[each.key]}
            for each in self.vectors
            if each.key in failures
        ]
        return [replace(each, index=index) for index, each in enumerate(there)], [*self.left_out, *gone]


@dataclass(frozen=True, slots=True)
class _Choosing:
    """Has the tokens of texts chosen, dataset by dataset, until there are as many as are wanted."""

    engine: TransformersEngine
    positions: VectorPositions
    max_per_dataset: int | None
    should_stop: Callable[[], bool]

    async def of(self, sources: Sequence[tuple[Item, SequenceInput]]) -> _Chosen:
        """Return the tokens of some texts."""
        vectors: list[Vector] = []
        left_out: list[dict[str, str]] = []
        wanted: dict[str, tuple[SequenceInput, int]] = {}
        by_dataset: dict[str, list[tuple[Item, SequenceInput]]] = {}
        for each in sources:
            by_dataset.setdefault(each[0].dataset, []).append(each)
        for own in by_dataset.values():
            most = len(vectors) + self.max_per_dataset if self.max_per_dataset is not None else None
            left = iter(own)
            while (most is None or len(vectors) < most) and (some := list(islice(left, _ASKED_AT_ONCE))):
                if self.should_stop():
                    raise StopRequested("not all texts are looked at")
                for (item, source), found in zip(some, await self._places(some), strict=True):
                    if most is not None and len(vectors) >= most:
                        break
                    if found.why is not None:
                        left_out.append({"dataset": item.dataset, "item_id": item.item_id, "why": found.why})
                    for vector in islice(
                        _vectors(item, found), None if most is None else most - len(vectors)
                    ):
                        vectors.append(replace(vector, index=len(vectors)))
                        wanted[vector.key] = (source, vector.position)
        return _Chosen(vectors=tuple(vectors), left_out=tuple(left_out), wanted=wanted)

    async def _places(self, some: Sequence[tuple[Item, SequenceInput]]) -> tuple[TextPlaces, ...]:
        request = PlacesRequest(sequences=tuple(source for _, source in some), rule=self.positions)
        return (await self.engine.places(request)).texts


def _vectors(item: Item, found: TextPlaces) -> Iterator[Vector]:
    for place, each in enumerate(found.places):
        yield Vector(
            index=0,
            key=key_of(found.id, each.position),
            dataset=item.dataset,
            item_id=item.item_id,
            place=place,
            position=each.position,
            n_tokens=found.n_tokens,
            token=each.token,
            before=each.before,
            after=each.after,
            role=each.role,
        )


def _made_before(folder: Path, name: str) -> VectorSet | None:
    """Return the set that a folder holds; None where it is another one, or not all there."""
    if not (folder / MARKER).is_file():
        return None
    try:
        found = VectorSet.read(folder)
        for first in range(0, len(found), BLOCK_ROWS):
            found.rows(first, first + 1)
        if found.name != name or len(found.vectors) != len(found):
            return None
    except StoreError:
        return None  # it is made anew
    return found
