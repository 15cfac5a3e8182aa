"""Writes that are there in full or not at all."""

import contextlib
import errno
import functools
import io
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from overnight.errors import StoreError, UsageError
from overnight.store.writers import HOST, is_at_work

SCRATCH = ".part"
_PATIENCE_S = 5.0
_FOR_ALL = 0o644
_FOR_THE_OWNER = 0o600  # of what holds a secret
_LEFT = re.compile(r"overnight-[a-z]+-(?P<host>[^-]+)-(?P<pid>\d+)-[^-]+")
_WRITTEN_BY = re.compile(rf"\..+\.(?P<host>[^-]+)-(?P<pid>\d+)-[^-]+{re.escape(SCRATCH)}")


@contextlib.contextmanager
def atomic_bytes(path: Path, mode: int = _FOR_ALL) -> Iterator[BinaryIO]:
    """Give a file that replaces ``path`` when the block ends well, and leaves no trace otherwise.

    The bytes are on disk before the name is: a crash leaves the old file or the new one. What else it leaves is taken
    away by the next process that writes in the same folder. Until the name is, nobody but its owner may read them, and
    from then on whoever ``mode`` says.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_what_was_left(path.parent)
    writer = f"{HOST}-{os.getpid()}-"
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.{writer}", suffix=SCRATCH, dir=path.parent)
    scratch = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        scratch.chmod(mode)
        _put_in_place(scratch, path)
        sync_folder(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_writer(path: Path) -> Iterator[TextIO]:
    r"""Give a UTF-8 text file, as ``atomic_bytes``; lone surrogates, which it cannot hold, become ``\udXXX``."""
    with atomic_bytes(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")
        try:
            yield text
        finally:
            text.detach()  # flushes, and leaves the file open for its own end


@functools.lru_cache(maxsize=4096)
def _remove_what_was_left(folder: Path) -> None:
    """Remove what writers of other processes have left in a folder, once they are gone; looked for once a process."""
    with contextlib.suppress(OSError):  # who may not look there, or take it away, may write all the same
        for path in folder.glob(f".*{SCRATCH}"):
            writer = _WRITTEN_BY.fullmatch(path.name)
            if writer is not None and not is_at_work(path, writer):
                path.unlink(missing_ok=True)


def remove_scratch(folder: Path) -> None:
    """Remove what writes that were killed have left anywhere in a folder that nobody else writes to."""
    for path in folder.rglob(f".*{SCRATCH}"):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """Give an empty folder among the system's temporary files (``TMPDIR``); it is gone when the block ends.

    What a process that was killed has left there is taken away by the next one that needs such a folder.

    Args:
        purpose: a word, for whoever looks at temporary files.
    """
    with contextlib.suppress(OSError):
        for path in Path(tempfile.gettempdir()).glob("overnight-*"):
            owner = _LEFT.fullmatch(path.name)
            if owner is not None and not is_at_work(path, owner):
                shutil.rmtree(path, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"overnight-{purpose}-{HOST}-{os.getpid()}-") as name:
        yield Path(name)


def write_text(path: Path, text: str) -> None:
    """Replace a file's content."""
    with atomic_writer(path) as file:
        file.write(text)


def copy_file(source: Path, path: Path) -> None:
    """Replace a file's content by that of another, however long it is."""
    with source.open("rb") as from_file, atomic_bytes(path) as file:
        shutil.copyfileobj(from_file, file)


def write_json(path: Path, value: Any) -> None:
    """Replace a file's content by strict JSON: no NaN, no Infinity."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_secret_json(path: Path, value: Any) -> None:
    """Replace a file's content by JSON that nobody but its owner may read, at no moment."""
    with atomic_bytes(path, _FOR_THE_OWNER) as file:
        file.write(json.dumps(value, indent=2, allow_nan=False).encode("ascii") + b"\n")


def read_json(path: Path) -> Any:
    """Return a JSON file's value.

    Raises:
        StoreError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, lists thousands deep
        raise StoreError(f"{path}: not JSON ({error})") from None


def read_object(path: Path) -> dict[str, Any]:
    """Return the value of a JSON file that holds an object.

    Raises:
        StoreError: the file is missing, is not JSON, or holds something else.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise StoreError(f"{path}: found a {type(value).__name__}, wanted an object; the file was changed")
    return value


def sync_folder(folder: Path) -> None:
    """Make a folder's entries durable, where the system can (Windows cannot)."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _put_in_place(scratch: Path, path: Path) -> None:
    """Give a file its name; where somebody reads the old one, which Windows does not let go before, try for a while."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            scratch.replace(path)
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() >= until:
                raise
            time.sleep(_PATIENCE_S / 500)
        else:
            return


def require_writable(folder: Path, needs_bytes: int) -> None:
    """Check that a folder can be written to and has room.

    Raises:
        UsageError: it cannot be made or written to, or the disk has less than ``needs_bytes`` free.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = "no space left" if error.errno == errno.ENOSPC else error.strerror
        raise UsageError(
            f"{folder}: cannot be written to ({reason}); choose another folder with --experiments-dir"
        ) from None
    free = shutil.disk_usage(folder).free
    if free < needs_bytes:
        raise UsageError(
            f"{folder}: {free / 1e6:.0f} MB free, this run needs about {needs_bytes / 1e6:.0f} MB; "
            "free some space or choose another folder with --experiments-dir"
        )
