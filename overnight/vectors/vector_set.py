"""The vectors of a model and layer in the folder of a run: read, mapped and checked without a model."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from overnight.best_of_k.vector import Vector
from overnight.errors import StoreError
from overnight.ids import canonical_json
from overnight.store.files import atomic_bytes, read_json, write_json
from overnight.vectors.floats import Kept, widen
from overnight.vectors.key import StateKey
from overnight.vectors.row_file import BLOCK_ROWS, RowFile, write_rows
from overnight.vectors.states import StateStore

VECTORS, LEFT_OUT, ROWS, MARKER = "vectors.jsonl", "left_out.jsonl", "vectors.safetensors", "vector_set.json"
SCHEMA_VERSION = 1


class VectorSet:
    """The vectors of a model and layer in the folder of a run; no model is needed to read them.

    Attributes:
        folder: where it is.
        left_out: texts, and single tokens, of which there is no vector: ``dataset``, ``item_id`` and ``why``.
        width: D, numbers of a vector.
        n_read: states that the model was asked for to make it; the others were kept.
        halvings: of batches of texts that did not fit into memory.
        seconds: that the model took to read them.
        was_cached: the model was asked for none.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Take what the marker says; what it says of other files is checked where they are read."""
        self.folder = folder
        self._digests = {name: str(facts["files"][name]) for name in (VECTORS, LEFT_OUT)}
        left_out = _checked(folder / LEFT_OUT, self._digests[LEFT_OUT])
        self.left_out: tuple[dict[str, Any], ...] = tuple(map(json.loads, left_out.splitlines()))
        self.n_vectors = int(facts["n_vectors"])
        self.width = int(facts["width"])
        self.n_read = int(facts["n_read"])
        self.halvings = int(facts["halvings"])
        self.seconds = float(facts["seconds"])
        self.kept = Kept(facts["key"]["kept"])
        self.name = str(facts["name"])
        if not (folder / VECTORS).is_file():
            raise StoreError(f"{folder / VECTORS}: missing; take {folder} away, and it is made anew")
        self._file = RowFile(folder / ROWS, self.kept, (self.n_vectors, self.width), facts["blocks"])

    def __len__(self) -> int:
        return self.n_vectors

    @property
    def was_cached(self) -> bool:
        """True where the model was asked for none of its states."""
        return self.n_read == 0

    @cached_property
    def vectors(self) -> tuple[Vector, ...]:
        """Where each vector was read, in the order of their indices.

        Raises:
            StoreError: the file is not what was written.
        """
        path = self.folder / VECTORS
        try:
            with path.open("rb") as file:
                is_as_written = hashlib.file_digest(file, "sha256").hexdigest() == self._digests[VECTORS]
                file.seek(0)
                if is_as_written:
                    return tuple(_parsed(file))
        except OSError as error:
            raise _unreadable(path, error) from None
        raise _changed(path)

    def rows(self, first: int, end: int) -> NDArray[np.float32]:
        """Return the vectors ``first`` to ``end - 1``, ``[n, D]``; read from the disk when they are looked at.

        Raises:
            StoreError: they are not what was written.
        """
        return widen(self._file.read(first, min(end, self.n_vectors)), self.kept)

    def require_whole(self) -> None:
        """Read all of it and return where it is what was written; `read` and `rows` check what they read.

        Raises:
            StoreError: it is not.
        """
        for first in range(0, self.n_vectors, BLOCK_ROWS):
            self._file.read(first, first + 1)
        if len(self.vectors) != self.n_vectors:
            raise StoreError(f"{self.folder / VECTORS}: {len(self.vectors)} lines, wanted {self.n_vectors}")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the set that a folder holds.

        Raises:
            StoreError: it holds none, or another one than was written.
        """
        facts = read_json(folder / MARKER)
        try:
            return cls(folder, facts)
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"{folder / MARKER}: not what was written ({type(error).__name__}: {error}); take {folder} away"
            ) from None


def write_vector_set(
    folder: Path,
    key: StateKey,
    store: StateStore,
    vectors: Sequence[Vector],
    left_out: Sequence[Mapping[str, str]],
    facts: Mapping[str, Any],
) -> None:
    """Write a set; its marker is written last, and says that the others are there.

    Args:
        folder: where.
        key: of the store.
        store: that has all states.
        vectors: numbered.
        left_out: ``dataset``, ``item_id`` and ``why`` of what there is no vector of.
        facts: what goes into the marker beside: ``name``, ``n_read``, ``halvings``, ``seconds``.

    Raises:
        StoreError: a state is not kept.
    """
    (folder / MARKER).unlink(missing_ok=True)
    keys = [vector.key for vector in vectors]
    blocks = (store.read(keys[first : first + BLOCK_ROWS])[:, 0] for first in range(0, len(keys), BLOCK_ROWS))
    width = store.read(keys[:1]).shape[-1]
    digests = write_rows(folder / ROWS, blocks, len(keys), width, key.kept)
    files = {
        VECTORS: _write_lines(folder / VECTORS, (vector.to_json() for vector in vectors)),
        LEFT_OUT: _write_lines(folder / LEFT_OUT, left_out),
    }
    shape = {"n_vectors": len(keys), "width": width}
    marker = {"schema_version": SCHEMA_VERSION, **facts, **shape, "key": key.as_dict()}
    write_json(folder / MARKER, {**marker, "files": files, "blocks": digests})


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> str:
    """Write a line a row and return the digest of the file."""
    digest = hashlib.sha256()
    with atomic_bytes(path) as file:
        for row in rows:
            line = canonical_json(dict(row)).encode("ascii") + b"\n"
            digest.update(line)
            file.write(line)
    return digest.hexdigest()


def _parsed(lines: Iterable[bytes]) -> Iterator[Vector]:
    """Yield the vectors of some lines; a block at a time is parsed faster than line by line, and is no more to hold."""
    left = iter(lines)
    while some := list(islice(left, BLOCK_ROWS)):
        yield from map(Vector.from_json, json.loads(b"[" + b",".join(some) + b"]"))


def _checked(path: Path, sha256: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise _changed(path)
    return data


def _unreadable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"{path}: cannot be read ({error.strerror}); take {path.parent} away")


def _changed(path: Path) -> StoreError:
    return StoreError(f"{path}: not what was written; take {path.parent} away, and it is made anew")
