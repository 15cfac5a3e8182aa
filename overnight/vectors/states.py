"""States that a model had for texts, kept by what they depend on and found by the digest of the text.

A folder holds shards that are written once, and for each writer an index of its own, so that writers never meet, on a
network file system either. Rows are found by the text: fewer texts, in another order, in other batches, by more or
fewer processes are found all the same.
"""

import contextlib
import logging
import os
import secrets
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overnight.errors import StoreError, UsageError
from overnight.ids import file_digest
from overnight.store.content_store import cache_folder
from overnight.store.writers import writer_name
from overnight.vectors import shards
from overnight.vectors.floats import Kept, is_finite, narrow, widen
from overnight.vectors.key import StateKey, require_key, write_key
from overnight.vectors.state_index import SUFFIX, Shard, append_line, index_files, read_index, short_ids

KIND = "states"
_LOG = logging.getLogger("overnight.states")
_ROWS = 3  # [n, P, d]


class Mode(StrEnum):
    """Whether what is kept is used, and whether anything is kept."""

    CACHED = "cached"  # what is there is used, what is missing is computed and kept
    FORCE = "force"  # everything is computed anew and kept; the new rows count from then on
    READ_ONLY = "read-only"  # what is missing is an error


class StateStore:
    """The states of one key."""

    def __init__(self, key: StateKey, root: Path | None = None, *, mode: Mode = Mode.CACHED) -> None:
        """Open the store of a key; nothing is written before the first row comes.

        Args:
            key: what the states depend on.
            root: the cache folder; the user's by default.
            mode: whether what is there is used.

        Raises:
            StoreError: the folder is of another key.
        """
        self.key = key
        self.mode = mode
        self.folder = (root or cache_folder()) / KIND / key.digest[:2] / key.digest
        require_key(self.folder, key.as_dict())
        self._started = datetime.now(UTC)
        self._token = secrets.token_hex(4)
        self._n_written = 0
        self._checked: set[Path] = set()
        self._broken: dict[Path, str] = {}
        self._seen: dict[Path, int] = {}
        self._shards: tuple[Shard, ...] = ()
        self._places: dict[bytes, tuple[Shard, int]] = {}
        self.refresh()

    @property
    def broken(self) -> tuple[str, ...]:
        """What was found to be damaged so far, in words; its rows are missing."""
        return tuple(self._broken.values())

    def __len__(self) -> int:
        return len(self._places)

    def refresh(self) -> None:
        """Look at what others have written since."""
        sizes = {path: path.stat().st_size for path in index_files(self.folder)}
        if sizes == self._seen:
            return
        index = read_index(self.folder)
        for line in index.damaged:
            self._say_broken(self.folder / line, f"{self.folder / line}: not what was written")
        self._seen, self._shards = sizes, index.shards
        self._place()

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Return those of some rows that have to be computed, in their order, each once.

        Shards with rows that are wanted are read and checked, so that `read` gives what is not in the answer. In mode
        ``force`` everything is missing that this store has not been given itself.

        Args:
            ids: digests of texts, in hex.

        Raises:
            UsageError: rows are missing in mode ``read-only``.
        """
        missing = self._lacking(ids, is_own_only=self.mode is Mode.FORCE)
        if missing and self.mode is Mode.READ_ONLY:
            raise UsageError(self._said_missing(len(missing), len(set(ids))))
        return missing

    def append(self, ids: Sequence[str], states: NDArray[Any]) -> None:
        """Keep rows; they are on the disk when this returns.

        A call is a file: 64 rows and more of one small point, a batch of many points.

        Args:
            ids: digests of texts, in hex, each once.
            states: ``[n, P, d]`` in float32, or as they are kept.

        Raises:
            UsageError: the mode is ``read-only``, or the folder cannot be written to.
            ValueError: the shapes do not agree, a state is not finite or does not fit, an id stands twice.
        """
        if self.mode is Mode.READ_ONLY:
            raise UsageError(
                f"{self.folder}: opened to be read only; set mode to cached or force to keep states"
            )
        shorts = short_ids(ids)
        self._require_rows(shorts, states)
        if not shorts:
            return
        held = states if states.dtype == self.key.kept.dtype else narrow(states, self.key.kept)
        name = writer_name(self._started, self._token)
        path = self.folder / f"{name}-{self._n_written:06d}{shards.SUFFIX}"
        try:
            # Somebody may have cleared it meanwhile: a key is written with every shard that finds none.
            if not (self.folder / "key.yaml").exists():
                write_key(self.folder, self.key.as_dict())
            sha256, n_bytes = shards.write_shard(path, held, self.key.kept, {"key": self.key.digest})
            self._n_written += 1
            shard = Shard(
                path=path, sha256=sha256, n_bytes=n_bytes, written_ns=time.time_ns(), ids=tuple(shorts)
            )
            index = self.folder / f"{name}{SUFFIX}"
            append_line(index, shard)
        except OSError as error:
            raise UsageError(
                f"{self.folder}: cannot be written to ({error.strerror}); free some space, or name another cache "
                "folder in OVERNIGHT_CACHE_DIR"
            ) from None
        # Known without reading the index again, which would make many appends quadratic; of others' rows `refresh`
        # knows by the sizes of their files.
        self._seen[index] = index.stat().st_size
        self._shards += (shard,)
        self._places.update({each: (shard, row) for row, each in enumerate(shorts)})

    def read(self, ids: Sequence[str], points: Sequence[str] | None = None) -> NDArray[Any]:
        """Return rows as they are kept (bfloat16: its bits), ``[n, P, d]``, in the order that is asked for.

        Args:
            ids: digests of texts, in hex.
            points: which points and in which order; all of them by default. What is not asked for is not read, but
                for the first time, when a shard is checked.

        Raises:
            UsageError: a point is not in the key.
            StoreError: rows are missing; `missing` says which.
        """
        columns = self._columns(points)
        if missing := self._lacking(ids, is_own_only=False):
            raise StoreError(self._said_missing(len(missing), len(set(ids))))
        by_shard: dict[Path, tuple[list[int], list[int]]] = {}
        for to, each in enumerate(short_ids(ids)):
            shard, row = self._places[each]
            places = by_shard.setdefault(shard.path, ([], []))
            places[0].append(to)
            places[1].append(row)
        n_points = len(self.key.points if columns is None else columns)
        found = np.empty((len(ids), n_points, self._width() or 0), self.key.kept.dtype)
        for path, (to_rows, rows) in by_shard.items():
            # Mapped for as long as it is copied from: every map holds a file open, and shards may be thousands.
            mapped = shards.map_shard(path, self.key.kept)
            found[to_rows] = mapped[rows] if columns is None else mapped[np.ix_(rows, columns)]
        return found

    def read_float32(self, ids: Sequence[str], points: Sequence[str] | None = None) -> NDArray[np.float32]:
        """Return rows as float32, whatever they are kept in; otherwise as `read`."""
        return widen(self.read(ids, points), self.key.kept)

    def _columns(self, points: Sequence[str] | None) -> list[int] | None:
        if points is None:
            return None
        place = {point: column for column, point in enumerate(self.key.points)}
        if unknown := [point for point in points if point not in place]:
            raise UsageError(
                f"{self.folder}: no states of {', '.join(unknown)}; there are {', '.join(self.key.points)}"
            )
        return [place[point] for point in points]

    def _place(self) -> None:
        self._places = {
            each: (shard, row)
            for shard in self._shards
            if shard.path not in self._broken
            for row, each in enumerate(shard.ids)
        }

    def _lacking(self, ids: Sequence[str], *, is_own_only: bool) -> list[str]:
        """Return rows that are nowhere, or nowhere whole, each once."""
        self.refresh()
        wanted = dict(zip(ids, short_ids(ids), strict=True))
        while self._find_broken(wanted.values()):
            pass  # a row of a broken shard may be in another one as well
        own = f"{writer_name(self._started, self._token)}-"
        return [
            text
            for text, each in wanted.items()
            if (place := self._places.get(each)) is None
            or (is_own_only and not place[0].path.name.startswith(own))
        ]

    def _find_broken(self, wanted: Iterable[bytes]) -> bool:
        """Read the shards that some rows are in, each once; True where one of them turned out broken."""
        needed = {place[0].path: place[0] for each in wanted if (place := self._places.get(each)) is not None}
        is_broken = False
        for path, shard in needed.items():
            if path in self._checked:
                continue
            problem = shard_problem(shard, len(self.key.points), self.key.kept)
            if problem is None:
                self._checked.add(path)
            else:
                self._say_broken(path, problem)
                is_broken = True
        if is_broken:
            self._place()
        return is_broken

    def _width(self) -> int | None:
        """Return d as the first readable shard has it; None where there is none yet."""
        for shard in self._shards:
            with contextlib.suppress(StoreError):
                return int(shards.map_shard(shard.path, self.key.kept).shape[-1])
        return None

    def _say_broken(self, path: Path, problem: str) -> None:
        if path not in self._broken:
            self._broken[path] = problem
            _LOG.warning("%s; its states are taken for missing", problem)

    def _said_missing(self, n_missing: int, n_wanted: int) -> str:
        damage = f", {len(self._broken)} damaged files left out" if self._broken else ""
        return (
            f"{self.folder}: {n_missing} of {n_wanted} states are not there{damage}; "
            "set mode to cached to have them computed and kept"
        )

    def _require_rows(self, ids: list[bytes], states: NDArray[Any]) -> None:
        wanted = (len(ids), len(self.key.points))
        if states.ndim != _ROWS or states.shape[:2] != wanted:
            raise ValueError(f"states of shape {states.shape}; want ({wanted[0]}, {wanted[1]}, d)")
        if states.dtype not in (np.dtype(np.float32), self.key.kept.dtype):
            raise ValueError(
                f"states of {states.dtype}; want float32, or {self.key.kept.dtype} as they are kept"
            )
        if (width := self._width()) is not None and states.shape[2] != width:
            raise ValueError(f"states of {states.shape[2]} dimensions; the store's have {width}")
        if len(set(ids)) < len(ids):
            raise ValueError("an id stands twice")
        if states.dtype == self.key.kept.dtype and not is_finite(states, self.key.kept):
            raise ValueError("a state is not finite; leave its text out")


def shard_problem(shard: Shard, n_points: int, kept: Kept) -> str | None:
    """Read a shard in full and return what is wrong with it; None where it is what was written."""
    try:
        if os.stat(shard.path).st_size != shard.n_bytes or file_digest(shard.path) != shard.sha256:  # noqa: PTH116
            return f"{shard.path}: not what was written"
        shape = shards.map_shard(shard.path, kept).shape
    except FileNotFoundError:
        return f"{shard.path}: missing"
    except OSError as error:
        return f"{shard.path}: cannot be read ({error.strerror})"
    except StoreError as error:
        return str(error)
    if len(shape) != _ROWS or shape[:2] != (len(shard.ids), n_points):
        return f"{shard.path}: holds {shape}, wanted {len(shard.ids)} rows of {n_points} points"
    return None
