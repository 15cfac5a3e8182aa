"""One process at a time works on a run; the lock dies with its process."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from overnight.errors import UsageError
from overnight.store.run_folder import RunFolder

_RESERVED: set[Path] = set()  # runs that this process holds and nobody in it works on yet


@contextlib.contextmanager
def reserved_run(folder: RunFolder) -> Iterator[None]:
    """Hold a run for the one who is going to work on it in this process, which takes its time to begin.

    Whoever asks it to stop meanwhile is heard; what somebody asked of a process that was killed is forgotten.

    Raises:
        UsageError: another process holds it.
    """
    key = folder.path.resolve()
    with _taken(folder):
        _RESERVED.add(key)
        try:
            yield
        finally:
            _RESERVED.discard(key)


@contextlib.contextmanager
def run_lock(folder: RunFolder) -> Iterator[None]:
    """Hold a run, which may have been reserved in this process.

    Raises:
        UsageError: somebody else holds it.
    """
    key = folder.path.resolve()
    if key not in _RESERVED:
        with _taken(folder):
            yield
        return
    _RESERVED.remove(key)  # nobody else in this process
    try:
        yield
    finally:
        _RESERVED.add(key)


@contextlib.contextmanager
def _taken(folder: RunFolder) -> Iterator[None]:
    lock = FileLock(folder.lock, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(
            f"run {folder.run_id} is being worked on by another process; "
            f"wait for it, or end it with `overnight stop {folder.run_id}`"
        ) from None
    try:
        folder.stop_request.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def block_lock(folder: RunFolder, model: str) -> Iterator[None]:
    """Hold the trials of one model of a run, which jobs of their own may carry out.

    Raises:
        UsageError: another process holds them.
    """
    lock = FileLock(folder.block_lock(model), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(
            f"run {folder.run_id}: another process works on the trials of {model}; wait for it, or cancel its job"
        ) from None
    try:
        yield
    finally:
        lock.release()


def has_jobs_at_work(folder: RunFolder) -> bool:
    """True while a job of its own works on the trials of a model of the run, whoever holds the run itself."""
    for path in folder.path.glob(folder.block_lock("*").name):
        lock = FileLock(path, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return True
        lock.release()
    return False


def is_locked(folder: RunFolder) -> bool:
    """True while a process works on the run."""
    lock = FileLock(folder.lock, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:
        return False  # a read-only folder: nobody can work on it
    lock.release()
    return False
