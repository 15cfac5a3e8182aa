"""Segments: append-only files of self-checking lines, one writer each, any number of readers.

A line is ``<check> <key> <json>``: 16 hex digits of the sha256 of all that follows, 32 hex digits of the key, and
the payload in ASCII. Nothing has to be locked: a writer has a file of its own, named after its process; a reader
passes over what is torn, flipped or foreign. So it holds on a network file system as well, where locks and memory
maps do not. Lines are not flushed to the disk one by one: one that is lost is asked again.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from overnight.ids import canonical_json
from overnight.store.writers import NAME, is_at_work, open_to_append, writer_name

SUFFIX = ".answers"
KEY_DIGITS = 32
_CHECK_DIGITS = 16
_KEY = slice(_CHECK_DIGITS + 1, _CHECK_DIGITS + 1 + KEY_DIGITS)
_PAYLOAD = _KEY.stop + 1
_BUFFER_BYTES = 1 << 20
_HEADER_KEY = "0" * KEY_DIGITS  # what the lines that follow were answered with, for people
_STARTED = datetime.now(UTC)
_TOKEN = secrets.token_hex(4)
_NAME = re.compile(NAME + re.escape(SUFFIX))


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a line is."""

    segment: Path
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What is in a segment."""

    n_lines: int  # intact, headers not counted
    damaged: tuple[int, ...]  # numbers of the lines that are not what was written, from 1
    is_torn: bool  # the last line has no end: its writer was killed, or is still writing


def encode(key: str, payload: dict[str, Any]) -> bytes:
    """Return the line of a payload; lone surrogates survive as their escapes."""
    body = f"{key} {canonical_json(payload)}".encode("ascii")
    return _check(body) + b" " + body + b"\n"


def decode(line: bytes) -> dict[str, Any] | None:
    """Return the payload of a line, or None where the line is not what was written."""
    if not _is_intact(line):
        return None
    try:
        value = json.loads(line[_PAYLOAD:])
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def segments(folder: Path) -> list[Path]:
    """Return the segments of a folder, the one that was begun first in front; other files are passed over."""
    try:
        return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.is_file())
    except FileNotFoundError:
        return []


@dataclass(slots=True)
class Found:
    """What a look through the segments came to."""

    places: dict[str, Place]
    n_damaged: int = 0  # lines of wanted keys that are not what was written
    unreadable: OSError | None = None  # why a segment could not be read, the last one


def sizes(folder: Path) -> dict[Path, int]:
    """Return how long each segment of a folder is."""
    return {path: path.stat().st_size for path in segments(folder)}


def find(folder: Path, keys: Iterable[str], since: Mapping[Path, int] | None = None) -> Found:
    """Return where the lines of some keys are; what cannot be read is passed over and counted.

    Of two lines of one key the first one counts. Memory is bounded by the keys, not by the segments.

    Args:
        folder: of the segments.
        keys: what is looked for.
        since: how much of each segment need not be read, since the same keys were looked for in it before.

    Raises:
        OSError: the folder cannot be read.
    """
    found = Found(places={})
    paths = segments(folder)
    wanted = {key.encode("ascii") for key in keys}
    for segment in paths:
        if not wanted:
            break
        try:
            _look_through(segment, wanted, found, (since or {}).get(segment, 0))
        except OSError as error:  # another user's, or taken away meanwhile
            found.unreadable = error
    return found


def _look_through(segment: Path, wanted: set[bytes], found: Found, offset: int) -> None:
    """Move the keys that a segment has from an offset on from ``wanted`` to ``found``."""
    with segment.open("rb", buffering=_BUFFER_BYTES) as file:
        file.seek(offset)
        for line in file:
            key = line[_KEY]
            if key in wanted:
                if _is_intact(line):
                    wanted.discard(key)
                    found.places[key.decode("ascii")] = Place(segment, offset)
                else:
                    found.n_damaged += 1
            offset += len(line)


def read(places: Iterable[Place]) -> Iterator[dict[str, Any] | None]:
    """Yield the payloads at some places; None for a line that is gone or changed meanwhile."""
    path, file = None, None
    try:
        for place in places:
            if place.segment != path:
                if file is not None:
                    file.close()
                path, file = place.segment, None
                with contextlib.suppress(OSError):  # cleared meanwhile
                    file = path.open("rb")
            if file is None:
                yield None
                continue
            try:
                file.seek(place.offset)
                line = file.readline()
            except OSError:
                line = b""
            yield decode(line)
    finally:
        if file is not None:
            file.close()


def audit(path: Path) -> Audit:
    """Read a segment line by line and check each."""
    n_lines = 0
    damaged: list[int] = []
    line = b"\n"
    with path.open("rb", buffering=_BUFFER_BYTES) as file:
        for number, line in enumerate(file, start=1):
            if _is_intact(line):
                n_lines += line[_KEY] != _HEADER_KEY.encode("ascii")
            elif line.endswith(b"\n") and line != b"\n":
                damaged.append(number)
    return Audit(n_lines=n_lines, damaged=tuple(damaged), is_torn=not line.endswith(b"\n"))


def is_being_written(path: Path, *, patience_s: float = 3600) -> bool:
    """True where the writer of a segment may still be at work, as `is_at_work` has it."""
    name = _NAME.fullmatch(path.name)
    return name is not None and is_at_work(path, name, patience_s=patience_s)


class SegmentWriter:
    """This process's own segment in a folder; it is made when the first line comes."""

    def __init__(self, folder: Path, header: dict[str, Any]) -> None:
        self._path = folder / f"{writer_name(_STARTED, _TOKEN)}{SUFFIX}"
        self._header = header
        self._handle: int | None = None

    def append(self, lines: Iterable[bytes]) -> None:
        """Write lines at the end.

        Raises:
            OSError: the folder cannot be made, or the file not be written to.
        """
        if self._handle is None:
            self._open()
            lines = [encode(_HEADER_KEY, self._header), *lines]
        self._write(b"".join(lines))

    def close(self) -> None:
        """Give the file back."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            os.close(handle)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = open_to_append(self._path)
        if os.lseek(self._handle, 0, os.SEEK_END):
            os.lseek(self._handle, -1, os.SEEK_END)
            if os.read(self._handle, 1) != b"\n":
                self._write(b"\n")  # a write failed half way: what follows is a line of its own

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view and self._handle is not None:
            view = view[os.write(self._handle, view) :]


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:_CHECK_DIGITS].encode("ascii")


def _is_intact(line: bytes) -> bool:
    return (
        line.endswith(b"\n")
        and line[_CHECK_DIGITS : _CHECK_DIGITS + 1] == b" "
        and line[_KEY.stop : _PAYLOAD] == b" "
        and _check(line[_KEY.start : -1]) == line[:_CHECK_DIGITS]
    )
