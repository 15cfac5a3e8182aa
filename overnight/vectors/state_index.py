"""Which rows are in which file: a line of JSON for each shard, in a file of its writer's own.

A line is written when its shard is on the disk, and holds its own check: one that was cut off or changed is no line,
and its rows are missing. Ids are the first 16 bytes of a digest, which two texts share by chance in one of 10^19
stores of a billion rows.
"""

import base64
import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from overnight.ids import canonical_json
from overnight.store.writers import NAME, is_at_work, open_to_append

SUFFIX = ".jsonl"
ID_BYTES = 16
_FILE = re.compile(NAME + re.escape(SUFFIX))
_CHECK_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One file of rows."""

    path: Path
    sha256: str
    n_bytes: int
    written_ns: int  # since 1970; of two rows of one text the later one counts
    ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What the index files of a folder say."""

    shards: tuple[Shard, ...]  # the one that was written first in front
    damaged: tuple[str, ...]  # lines that are not what was written, in words
    torn: tuple[Path, ...]  # files whose last line has no end: its writer was killed, or is still writing


def short_id(text: str) -> bytes:
    """Return the id of a row from the digest of its text in hex.

    Raises:
        ValueError: it has fewer than 32 hex digits.
    """
    found = bytes.fromhex(text)[:ID_BYTES]
    if len(found) < ID_BYTES:
        raise ValueError(f"id {text!r} is no digest; want at least {2 * ID_BYTES} hex digits")
    return found


def index_files(folder: Path) -> list[Path]:
    """Return the index files of a folder; there may be none."""
    try:
        return sorted(path for path in folder.iterdir() if _FILE.fullmatch(path.name))
    except FileNotFoundError:
        return []


def is_being_written(folder: Path) -> bool:
    """True where somebody who has written to a folder may still be at work."""
    return any(
        (name := _FILE.fullmatch(path.name)) is not None and is_at_work(path, name)
        for path in index_files(folder)
    )


def read_index(folder: Path) -> Index:
    """Read all index files of a folder."""
    shards: list[Shard] = []
    damaged: list[str] = []
    torn: list[Path] = []
    for path in index_files(folder):
        for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
            if not line.endswith(b"\n"):
                torn.append(path)
                continue
            shard = _decode(line, folder)
            if shard is None:
                damaged.append(f"{path.name}, line {number}")
            else:
                shards.append(shard)
    shards.sort(key=lambda shard: (shard.written_ns, shard.path.name))
    return Index(shards=tuple(shards), damaged=tuple(damaged), torn=tuple(torn))


def append_line(path: Path, shard: Shard) -> None:
    """Add a shard to an index file; it is on the disk afterwards."""
    value = {
        "shard": shard.path.name,
        "sha256": shard.sha256,
        "bytes": shard.n_bytes,
        "written_ns": shard.written_ns,
        "ids": base64.b64encode(b"".join(shard.ids)).decode("ascii"),
    }
    line = canonical_json({**value, "check": _check(value)}).encode("ascii") + b"\n"
    handle = open_to_append(path)
    try:
        if os.lseek(handle, 0, os.SEEK_END):
            os.lseek(handle, -1, os.SEEK_END)
            if os.read(handle, 1) != b"\n":
                line = b"\n" + line  # a write failed half way: what follows is a line of its own
        view = memoryview(line)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _decode(line: bytes, folder: Path) -> Shard | None:
    try:
        value = json.loads(line)
        check = value.pop("check")
        if check != _check(value) or Path(value["shard"]).name != value["shard"]:
            return None
        ids = base64.b64decode(value["ids"], validate=True)
        return Shard(
            path=folder / value["shard"],
            sha256=value["sha256"],
            n_bytes=value["bytes"],
            written_ns=value["written_ns"],
            ids=_cut(ids),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _cut(ids: bytes) -> tuple[bytes, ...]:
    return tuple(ids[at : at + ID_BYTES] for at in range(0, len(ids), ID_BYTES))


def _check(value: dict[str, object]) -> str:
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()[:_CHECK_DIGITS]


def short_ids(texts: Sequence[str]) -> list[bytes]:
    """Return the ids of rows; see `short_id`."""
    return [short_id(text) for text in texts]
