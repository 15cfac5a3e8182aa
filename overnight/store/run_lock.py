"""One process at a time works on a run; the lock dies with its process."""

import contextlib
from collections.abc import Iterator

from filelock import FileLock, Timeout

from overnight.errors import UsageError
from overnight.store.run_folder import RunFolder


@contextlib.contextmanager
def run_lock(folder: RunFolder) -> Iterator[None]:
    """Hold a run.

    Raises:
        UsageError: another process holds it.
    """
    lock = FileLock(folder.lock, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(
            f"run {folder.run_id} is being worked on by another process; "
            f"wait for it, or end it with `overnight stop {folder.run_id}`"
        ) from None
    try:
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
