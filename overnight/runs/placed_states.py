"""States of single tokens: read from the model where nobody has read them, by all engines that hold it."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from overnight.activations.points import Point
from overnight.activations.request import ActivationRequest, SequenceInput
from overnight.engines.transformers.client import TransformersEngine
from overnight.errors import OutOfMemory, StopRequested, UsageError
from overnight.store.files import scratch_folder
from overnight.vectors.states import StateStore

_TEXTS = 16  # of one request where nobody says how many; few enough that engines end at about one time
_ROWS = 256  # that are kept together: of a file of few rows its header is too much
_KEPT_EVERY_S = 20.0  # what an interruption may cost


@dataclass(frozen=True, slots=True)
class WantedStates:
    """Which states are wanted."""

    point: Point
    rows: Mapping[str, tuple[SequenceInput, int]]  # by key: the text and the position


@dataclass(slots=True)
class ReadStates:
    """What became of those that were not kept."""

    n_read: int = 0
    halvings: int = 0
    seconds: float = 0.0  # by the clock, of all engines together
    failures: dict[str, str] = field(default_factory=dict)  # by key: why there is none


async def keep_placed(
    store: StateStore,
    wanted: WantedStates,
    engines: Sequence[TransformersEngine],
    should_stop: Callable[[], bool],
    batch: int | None,
) -> ReadStates:
    """Have a model read the texts whose states are not all kept, and keep them.

    A text is read once, whatever the number of its positions. The texts of a request are the same for any number of
    engines, so that what is computed together does not depend on it.

    Args:
        store: of the model and the point.
        wanted: all states; of these, what is missing is read.
        engines: each takes the next texts when it is done with some.
        should_stop: looked at before each request.
        batch: texts of a request, at most.

    Raises:
        UsageError: states are missing and may not be computed, or a text has no such token.
        OutOfMemory: a text does not fit, not even alone.
        StopRequested: somebody asked the run to stop.
        EngineError: an engine is gone for good.
    """
    started = time.perf_counter()
    sequences = _sequences(store.missing(list(wanted.rows)), wanted)
    size = batch or _TEXTS
    left = deque(sequences[first : first + size] for first in range(0, len(sequences), size))
    keeping = _Keeping(store)
    read = ReadStates()

    async def work(engine: TransformersEngine) -> None:
        while left:
            if should_stop():
                raise StopRequested("not all texts are read")
            await _read(left.popleft(), wanted.point, engine, keeping, read)

    tasks = [asyncio.ensure_future(work(engine)) for engine in engines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        keeping.flush()  # what was read before somebody stopped, or an engine failed, is not read again
    read.seconds = time.perf_counter() - started if sequences else 0.0
    return read


@dataclass(frozen=True, slots=True)
class _Sequence:
    """A text, and the keys of the states that are missing of it."""

    input: SequenceInput  # with their places
    keys: tuple[str, ...]


def _sequences(missing: Sequence[str], wanted: WantedStates) -> list[_Sequence]:
    """Return the texts with missing states, the longest first: of a batch, the others are padded little."""
    by_text: dict[str, list[str]] = {}
    for key in missing:
        by_text.setdefault(wanted.rows[key][0].id, []).append(key)
    found = []
    for keys in by_text.values():
        own = sorted(keys, key=lambda key: wanted.rows[key][1])
        source = wanted.rows[own[0]][0]
        places = tuple(wanted.rows[key][1] for key in own)
        found.append(_Sequence(replace(source, places=places), tuple(own)))
    return sorted(found, key=lambda each: -each.input.places[-1])


async def _read(
    sequences: Sequence[_Sequence],
    point: Point,
    engine: TransformersEngine,
    keeping: "_Keeping",
    read: ReadStates,
) -> None:
    """Have one engine read some texts."""
    with scratch_folder("vectors") as folder:
        request = ActivationRequest(
            sequences=tuple(each.input for each in sequences), out=folder, placed=(point,)
        )
        answer = await engine.activations(request)
        read.halvings += answer.halvings
        for each, came in zip(sequences, answer.sequences, strict=True):
            if came.error is None:
                found = load_file(folder / f"{each.input.id}.safetensors")["placed"]
                keeping.add(each.keys, found)
                read.n_read += len(each.keys)
            elif came.error.kind == "OutOfMemory":
                raise OutOfMemory(came.error.message)
            else:
                read.failures |= dict.fromkeys(each.keys, came.error.message)


class _Keeping:
    """Gathers rows until they are worth a file."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._keys: list[str] = []
        self._states: list[NDArray[np.float32]] = []
        self._since = time.monotonic()

    def add(self, keys: Sequence[str], states: NDArray[np.float32]) -> None:
        """Take rows ``[n, P, d]``."""
        self._keys += keys
        self._states.append(states)
        if len(self._keys) >= _ROWS or time.monotonic() - self._since > _KEPT_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Keep what was taken; it is on the disk then."""
        keys, states = self._keys, self._states
        self._keys, self._states, self._since = [], [], time.monotonic()
        if not keys:
            return
        try:
            self._store.append(keys, np.concatenate(states))
        except ValueError as error:  # too large for the kind of number; which one is said
            raise UsageError(f"experiment.kept: {error}") from None
