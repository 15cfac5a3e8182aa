"""Taking caches away, but for what another process is using.

In use is an entry of the content store that is being built, weights that are being downloaded or that a process of
this user has mapped, and a segment of answers or a folder of states whose writer is alive.
"""

import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from overnight.errors import UsageError
from overnight.store.cache_listing import DIGESTS, LOCK, MODELS, SEGMENTED, STATES, CacheEntry, weights_of
from overnight.store.segments import is_being_written
from overnight.vectors import state_index


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """What was taken away of one kind, and what was left because it is in use."""

    kind: str
    entries: int
    bytes: int
    in_use: int


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
        except FileNotFoundError:
            continue  # somebody else was faster
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


def _remove(entry: CacheEntry) -> bool:
    """Take one entry away; False where somebody uses it."""
    path = entry.path
    if _WRITERS_OF.get(entry.kind, _nobody)(path):
        return False
    if entry.kind in SEGMENTED or entry.kind == DIGESTS:
        path.unlink(missing_ok=True)
        return True
    lock = path / LOCK if entry.kind == MODELS else path.parent / f".{path.name}.lock"
    try:
        with FileLock(lock, timeout=0):
            if entry.kind == MODELS:
                if _are_mapped(weights_of(path)):
                    return False
                for each in path.iterdir():
                    if each.is_dir():
                        shutil.rmtree(each)
                    elif each.name != LOCK:
                        each.unlink()
            else:
                # Out of its place first: a reader finds all of it or nothing.
                scratch = path.with_name(f".{path.name[:8]}-cleared-{os.getpid()}")
                path.rename(scratch)
                shutil.rmtree(scratch)
    except Timeout:
        return False
    return True


def _nobody(_path: Path) -> bool:
    return False


# Whether somebody may still be writing an entry, of kinds that are written to a piece at a time.
_WRITERS_OF = dict.fromkeys(SEGMENTED, is_being_written) | {STATES: state_index.is_being_written}


def _are_mapped(files: list[Path]) -> bool:
    """True where a process of this user has one of some files in its memory."""
    if sys.platform == "darwin":  # which does not tell; what is mapped stays there without its name
        return False
    names = {str(file.resolve()) for file in files}
    for process in psutil.process_iter():
        try:
            if any(mapped.path in names for mapped in process.memory_maps(grouped=True)):
                return True
        except (psutil.Error, OSError, AttributeError, NotImplementedError):
            continue  # of another user, gone, or of a system that does not tell
    return False
