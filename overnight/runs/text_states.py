"""The states that a model has of some sequences: kept for other runs, read from the model where they are missing."""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from overnight.activations.points import Point, labels
from overnight.activations.positions import Positions
from overnight.activations.request import ActivationRequest, SequenceInput
from overnight.engines.transformers.client import TransformersEngine
from overnight.errors import OutOfMemory, StopRequested, UsageError
from overnight.store.files import scratch_folder
from overnight.vectors.states import StateStore

_AT_ONCE = 64  # sequences of one request to the host; after each their states are on the disk


async def keep_missing(
    store: StateStore,
    sequences: Sequence[SequenceInput],
    points: Sequence[Point],
    positions: str,
    engine: TransformersEngine,
    should_stop: Callable[[], bool],
) -> int:
    """Have a model read the sequences whose states are not kept, and keep them; return how many it read.

    Args:
        store: of the model, the points and the positions.
        sequences: their ids are digests of what they say.
        points: in the order of the store's key.
        positions: whose states are averaged.
        engine: that holds the model.
        should_stop: looked at before each request.

    Raises:
        UsageError: a sequence has no such positions, or is too long.
        OutOfMemory: one does not fit, not even alone.
        StopRequested: somebody asked the run to stop.
        EngineError: the engine is gone for good.
    """
    by_id = {each.id: each for each in sequences}
    missing = store.missing(list(by_id))
    left = iter(missing)
    while some := list(islice(left, _AT_ONCE)):
        if should_stop():
            raise StopRequested("not all texts of the traits are read")
        with scratch_folder("states") as folder:
            found = await _read([by_id[name] for name in some], points, positions, engine, folder)
        store.append(some, found)
    return len(missing)


async def _read(
    sequences: Sequence[SequenceInput],
    points: Sequence[Point],
    positions: str,
    engine: TransformersEngine,
    folder: Path,
) -> NDArray[np.float32]:
    """Return the states of some sequences, ``[n, P, d]``."""
    answer = await engine.activations(
        ActivationRequest(
            sequences=tuple(sequences),
            out=folder,
            pooled=tuple(points),
            positions=Positions.parse(positions),
        )
    )
    for each in answer.sequences:
        if each.error is not None:
            text = _shown(next(one for one in sequences if one.id == each.id))
            kind = OutOfMemory if each.error.kind == "OutOfMemory" else UsageError
            raise kind(f"{text!r}: {each.error.message}")
    return np.stack([_pooled(folder / f"{each.id}.safetensors", points) for each in answer.sequences])


def _pooled(path: Path, points: Sequence[Point]) -> NDArray[Any]:
    found = load_file(path)["pooled"]
    if len(found) != len(labels(points)):
        raise ValueError(f"{path}: {len(found)} states, {len(points)} wanted")
    return found


def _shown(sequence: SequenceInput) -> str:
    text = sequence.text if sequence.text is not None else (sequence.messages or ())[-1]["content"]
    return text if len(text) <= 60 else f"{text[:60]}..."  # noqa: PLR2004 - of a line
