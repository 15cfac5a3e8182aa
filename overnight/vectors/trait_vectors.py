"""Finished directions of traits, kept by what they were found from: read, and never found twice."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from overnight.errors import StoreError, UsageError
from overnight.ids import digest
from overnight.store.content_store import ContentStore, cache_folder
from overnight.store.files import atomic_bytes, read_json, write_json
from overnight.traits.directions import TraitDirections
from overnight.traits.methods import METHODS_VERSION
from overnight.traits.validity_record import TraitValidity, as_json
from overnight.vectors.key import require_key, write_key
from overnight.vectors.states import Mode

KIND = "vectors"
VECTORS_FILE, VALIDITY_FILE = "vectors.safetensors", "validity.json"
# Goes up whenever what is in an entry changes.
VECTORS_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorKey:
    """What the directions of a trait depend on."""

    trait: str
    model_digest: str
    held: str  # how the weights are held
    points: tuple[str, ...]  # labels: layer and component
    positions: str  # which states of a sequence are averaged
    rendering: str  # how a text becomes tokens
    kept: str  # the kind of number that the states were kept in
    data_digest: str  # of the texts
    method: str
    settings: dict[str, Any] = field(default_factory=dict)  # of the method, its validation and its nulls
    version: tuple[int, int] = (METHODS_VERSION, VECTORS_VERSION)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"points": list(self.points), "version": list(self.version)}

    @property
    def digest(self) -> str:
        """The name of the entry's folder."""
        return digest(self.as_dict())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredVectors:
    """What is kept of one trait by one method."""

    directions: TraitDirections
    validity: dict[str, Any]  # as `as_json` has it
    undefined: dict[str, str]  # why there is no direction, by point
    folder: Path
    was_cached: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoundVectors:
    """What was found of one trait by one method."""

    directions: TraitDirections
    validity: TraitValidity
    undefined: dict[str, str]


def stored_vectors(
    key: VectorKey,
    find: Callable[[], FoundVectors],
    root: Path | None = None,
    *,
    mode: Mode = Mode.CACHED,
) -> StoredVectors:
    """Return the directions of a key; have them found and kept where there are none, or where that is forced.

    An entry whose digests are not what was written is found again.

    Raises:
        UsageError: there are none in mode ``read-only``, or the cache cannot be written to.
        StoreError: an entry is of another key than its name.
        Whatever ``find`` raises; nothing is kept then.
    """
    store = ContentStore(root or cache_folder(), KIND)
    identity = key.as_dict()
    if mode is Mode.READ_ONLY:
        entry = store.find(identity)
        if entry is None:
            raise UsageError(
                f"{store.root / KIND}: no directions of {key.trait!r} by {key.method} from these texts and this model; "
                "set mode to cached to have them found and kept"
            )
    else:
        entry = store.get_or_build(
            identity, lambda folder: _write(folder, key, find()), is_anew=mode is Mode.FORCE
        )
    require_key(entry.path, identity)
    return _read(entry.path, key.trait, was_cached=entry.was_cached)


def _write(folder: Path, key: VectorKey, found: FoundVectors) -> None:
    own = found.directions
    if own.points != key.points:
        raise ValueError(f"directions at {len(own.points)} points for a key of {len(key.points)}")
    tensors: dict[str, NDArray[Any]] = {"directions": np.ascontiguousarray(own.directions, dtype=np.float32)}
    if own.nulls is not None:
        tensors["nulls"] = np.ascontiguousarray(own.nulls, dtype=np.float32)
    metadata = {"trait": own.trait, "points": json.dumps(own.points), "chosen": own.chosen}
    with atomic_bytes(folder / VECTORS_FILE) as file:
        file.write(save(tensors, metadata))
    write_json(folder / VALIDITY_FILE, {"validity": as_json(found.validity), "undefined": found.undefined})
    write_key(folder, key.as_dict())


def _read(folder: Path, trait: str, *, was_cached: bool) -> StoredVectors:
    try:
        with safe_open(folder / VECTORS_FILE, framework="np") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        directions = TraitDirections(
            trait=trait,
            points=tuple(json.loads(metadata["points"])),
            directions=tensors["directions"],
            chosen=metadata["chosen"],
            nulls=tensors.get("nulls"),
        )
        record = read_json(folder / VALIDITY_FILE)
        validity, undefined = dict(record["validity"]), dict(record["undefined"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{folder}: not the directions of a trait ({error}); take it away") from None
    return StoredVectors(
        directions=directions, validity=validity, undefined=undefined, folder=folder, was_cached=was_cached
    )
