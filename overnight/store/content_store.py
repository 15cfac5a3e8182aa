"""What is expensive to make, kept by what it was made from.

An entry is a folder of plain files under the digest of its identity (inputs, parameters, code version). It is
built beside its place and renamed into it, so that it is there in full or not at all; ``entry.json`` holds the
identity and the digest of each file. One builder at a time works on an entry, under a lock that its process
takes to the grave; what it leaves there is taken away by the next builder.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock
from pydantic import ValidationError

from overnight.errors import StoreError, UsageError
from overnight.ids import digest
from overnight.store.files import read_json, write_json
from overnight.store.inside import below
from overnight.store.manifest import Artifact, broken_seals, seal

ENTRY_FILE = "entry.json"


def cache_folder() -> Path:
    """Return where caches live: ``OVERNIGHT_CACHE_DIR``, or the user's cache folder."""
    named = os.environ.get("OVERNIGHT_CACHE_DIR")
    return Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("overnight"))


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished entry."""

    path: Path
    key: str
    was_cached: bool


@dataclass(frozen=True, slots=True)
class ContentStore:
    """Entries of one kind, e.g. ``items``."""

    root: Path
    kind: str

    def find(self, identity: dict[str, Any]) -> Entry | None:
        """Return the entry of an identity; None where there is none, or where its files are missing or changed."""
        key = digest(identity)
        path = self.root / self.kind / key[:2] / key
        return Entry(path, key, was_cached=True) if _is_whole(path) else None

    def get_or_build(
        self, identity: dict[str, Any], build: Callable[[Path], None], *, is_anew: bool = False
    ) -> Entry:
        """Return the entry of an identity; call ``build`` with an empty folder where there is none yet.

        An entry whose files are missing or changed is thrown away and built again; with ``is_anew`` any entry is, once
        the new one has been built.

        Raises:
            UsageError: the store's folder cannot be made, or not be written to where there is no entry yet.
            Whatever ``build`` raises; nothing is kept then.
        """
        key = digest(identity)
        path = self.root / self.kind / key[:2] / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{path.parent}: cannot be made ({error.strerror}); name another cache folder in OVERNIGHT_CACHE_DIR"
            ) from None
        if not os.access(path.parent, os.W_OK):  # somebody else's cache: nothing can be locked, or changed
            if _is_whole(path) and not is_anew:
                return Entry(path, key, was_cached=True)
            raise UsageError(
                f"{path.parent}: cannot be written to; name another cache folder in OVERNIGHT_CACHE_DIR"
            )
        with FileLock(path.parent / f".{key}.lock"):
            is_whole = _is_whole(path)
            if is_whole and not is_anew:
                return Entry(path, key, was_cached=True)
            if not is_whole:
                shutil.rmtree(path, ignore_errors=True)
            # Left by a builder that was killed: whoever lives has the lock.
            for left in path.parent.glob(f".{key[:8]}-*"):
                shutil.rmtree(left, ignore_errors=True)
            scratch = Path(tempfile.mkdtemp(prefix=f".{key[:8]}-", dir=path.parent))
            try:
                build(scratch)
                files = dict(seal(scratch, file) for file in sorted(scratch.rglob("*")) if file.is_file())
                write_json(
                    scratch / ENTRY_FILE,
                    {"identity": identity, "files": {n: a.model_dump() for n, a in files.items()}},
                )
                shutil.rmtree(path, ignore_errors=True)
                scratch.rename(path)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        return Entry(path, key, was_cached=False)


def read_entry(path: Path) -> tuple[dict[str, Any], dict[str, Artifact]] | None:
    """Return the identity of an entry and the digests of its files; None where its description is none."""
    try:
        value = read_json(path / ENTRY_FILE)
        files = {str(name): Artifact(**seal) for name, seal in value["files"].items()}
        for name in files:
            below(path, name)
        return dict(value["identity"]), files
    except (StoreError, KeyError, TypeError, ValueError, AttributeError, ValidationError):
        return None  # missing, torn or written by somebody else


def _is_whole(path: Path) -> bool:
    entry = read_entry(path)
    return entry is not None and not broken_seals(path, entry[1])
