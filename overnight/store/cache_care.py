"""Looking after the caches: what is there, whether it is what it was, and taking it away.

Everything here is found by looking at the folder, so that caches of any version are listed. Nothing that another
process is using is taken away: an entry of the content store that is being built, weights that are being downloaded
or that a process of this user has mapped, a segment whose writer is alive.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from overnight.errors import StoreError, UsageError
from overnight.ids import digest, file_digest
from overnight.store.content_store import ENTRY_FILE, read_entry
from overnight.store.files import read_json
from overnight.store.manifest import broken_seals
from overnight.store.request_cache import KIND as REQUESTS
from overnight.store.segments import audit, is_being_written, segments

MODELS = "models"
DIGESTS = "digests"  # of files that users keep, by their size and time of change
_KINDS = frozenset({"items", MODELS, REQUESTS, DIGESTS})  # those that may be named before there is any
_KEY_DIGITS = 64
_LOCK = ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """Something that is kept and taken away as a whole."""

    kind: str
    path: Path  # a folder (content, weights) or a file (answers of one process, a digest)
    bytes: int
    changed: datetime  # when it was made, or written to last

    def age_days(self, now: datetime) -> float:
        """Return how long ago it was changed."""
        return (now - self.changed).total_seconds() / 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class KindSummary:
    """All entries of one kind."""

    kind: str
    entries: int
    answers: int | None  # of the request cache; None for other kinds
    bytes: int
    oldest: datetime
    newest: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that is not what it was."""

    kind: str
    path: Path
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """What was taken away of one kind, and what was left because it is in use."""

    kind: str
    entries: int
    bytes: int
    in_use: int


def cache_entries(root: Path, kinds: Iterable[str] | None = None) -> Iterator[CacheEntry]:
    """Yield what is in the cache folder, kind by kind.

    Raises:
        UsageError: a kind is named that there is not, or the folder cannot be read.
    """
    try:
        found = [path.name for path in _subfolders(root)]
    except OSError as error:
        raise UsageError(
            f"{root}: cannot be read ({error.strerror}); name another cache folder in OVERNIGHT_CACHE_DIR"
        ) from None
    known = sorted(_KINDS.union(found))
    wanted = known if kinds is None else list(kinds)
    for kind in wanted:
        if kind not in known:
            raise UsageError(f"{root}: no cache of {kind!r} here; there are {', '.join(known)}")
    for kind in wanted:
        for path in _paths(root / kind, kind):
            files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
            try:
                status = [file.stat() for file in files]
            except FileNotFoundError:
                continue  # taken away meanwhile
            if status:
                yield CacheEntry(
                    kind=kind,
                    path=path,
                    bytes=sum(each.st_size for each in status),
                    changed=datetime.fromtimestamp(max(each.st_mtime for each in status), UTC),
                )


def summarise(entries: Iterable[CacheEntry]) -> list[KindSummary]:
    """Return one summary for each kind that has entries."""
    by_kind: dict[str, list[CacheEntry]] = {}
    for entry in entries:
        by_kind.setdefault(entry.kind, []).append(entry)
    return [
        KindSummary(
            kind=kind,
            entries=len(own),
            answers=sum(audit(e.path).n_lines for e in own) if kind == REQUESTS else None,
            bytes=sum(e.bytes for e in own),
            oldest=min(e.changed for e in own),
            newest=max(e.changed for e in own),
        )
        for kind, own in by_kind.items()
    ]


def verify(entry: CacheEntry) -> list[Problem]:
    """Read an entry in full and return what is wrong with it."""
    check = {MODELS: _weights_problems, REQUESTS: _segment_problems, DIGESTS: _digest_problems}
    try:
        found = list(check.get(entry.kind, _content_problems)(entry.path))
    except FileNotFoundError:
        found = []  # taken away meanwhile
    except OSError as error:
        found = [f"cannot be read ({error.strerror})"]
    return [Problem(kind=entry.kind, path=entry.path, found=text) for text in found]


def clear(entries: Iterable[CacheEntry]) -> list[Cleared]:
    """Take entries away; those that somebody uses stay.

    Raises:
        UsageError: one may not be taken away.
    """
    sums: dict[str, list[int]] = {}
    for entry in entries:
        freed = sums.setdefault(entry.kind, [0, 0, 0])
        try:
            is_gone = _remove(entry)
        except OSError as error:
            raise UsageError(
                f"{entry.path}: cannot be taken away ({error.strerror}); do it as the one who owns it"
            ) from None
        if is_gone:
            freed[0] += 1
            freed[1] += entry.bytes
        else:
            freed[2] += 1
    return [Cleared(kind=k, entries=n, bytes=size, in_use=used) for k, (n, size, used) in sums.items()]


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    except FileNotFoundError:
        return []


def _paths(folder: Path, kind: str) -> Iterator[Path]:
    if kind == DIGESTS:
        yield from sorted(folder.glob("*.json"))
    elif kind == MODELS:
        # What a download that was killed has left counts as well.
        yield from (path for path in _subfolders(folder) if any(p.name != _LOCK for p in path.iterdir()))
    elif kind == REQUESTS:
        for model in _subfolders(folder):
            yield from segments(model)
    else:
        for shelf in _subfolders(folder):
            yield from (path for path in _subfolders(shelf) if len(path.name) == _KEY_DIGITS)


def _weights(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _content_problems(path: Path) -> Iterator[str]:
    entry = read_entry(path)
    if entry is None:
        yield f"{ENTRY_FILE} is missing or is not what was written; made anew when it is needed"
        return
    identity, files = entry
    if digest(identity) != path.name:
        yield f"{ENTRY_FILE} describes something else than its name says; made anew when it is needed"
    for name in broken_seals(path, files):
        yield f"{name} is missing or was changed; made anew when it is needed"


def _weights_problems(path: Path) -> Iterator[str]:
    for file in _weights(path):
        found = file_digest(file)
        if found != path.name:
            yield f"{file.name} has sha256 {found}, not the one that it is kept under; loaded anew when it is needed"


def _segment_problems(path: Path) -> Iterator[str]:
    found = audit(path)
    for number in found.damaged:
        yield f"line {number} is not what was written; its request will be sent again"
    if found.is_torn and not is_being_written(path):
        yield "the last line has no end; its request will be sent again"


def _digest_problems(path: Path) -> Iterator[str]:
    try:
        value = read_json(path)
    except StoreError:
        value = None
    if not isinstance(value, dict) or not isinstance(value.get("sha256"), str):
        yield "not a digest; computed anew when it is needed"


def _remove(entry: CacheEntry) -> bool:
    """Take one entry away; False where somebody uses it."""
    path = entry.path
    if entry.kind == REQUESTS:
        if is_being_written(path):
            return False
        path.unlink(missing_ok=True)
        return True
    if entry.kind == DIGESTS:
        path.unlink(missing_ok=True)
        return True
    lock = path / _LOCK if entry.kind == MODELS else path.parent / f".{path.name}.lock"
    try:
        with FileLock(lock, timeout=0):
            if entry.kind == MODELS:
                if _are_mapped(_weights(path)):
                    return False
                for each in path.iterdir():
                    if each.is_dir():
                        shutil.rmtree(each)
                    elif each.name != _LOCK:
                        each.unlink()
            else:
                # Out of its place first: a reader finds all of it or nothing.
                scratch = path.with_name(f".{path.name[:8]}-cleared-{os.getpid()}")
                path.rename(scratch)
                shutil.rmtree(scratch)
    except Timeout:
        return False
    return True


def _are_mapped(files: list[Path]) -> bool:
    """True where a process of this user has one of some files in its memory."""
    names = {str(file.resolve()) for file in files}
    for process in psutil.process_iter():
        try:
            if any(mapped.path in names for mapped in process.memory_maps(grouped=True)):
                return True
        except (psutil.Error, OSError, AttributeError, NotImplementedError):
            continue  # of another user, gone, or of a system that does not tell
    return False
