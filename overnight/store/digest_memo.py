"""Digests of files that users keep, known by their size and time of change: what is written down checks itself."""

import contextlib
from pathlib import Path
from typing import Any

from overnight.errors import StoreError
from overnight.ids import digest, file_digest
from overnight.store.content_store import cache_folder
from overnight.store.files import read_json, write_json

KIND = "digests"


def memoised_digest(path: Path) -> str:
    """Return a file's sha256, computed again only when its size or its time of change is another."""
    status = path.stat()
    known = {"path": str(path.resolve()), "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
    memo = cache_folder() / KIND / f"{digest(known['path'])}.json"
    found = read_memo(memo)
    if found is not None and {key: found.get(key) for key in known} == known:
        return str(found["sha256"])
    sha256 = file_digest(path)
    value = known | {"sha256": sha256}
    with contextlib.suppress(OSError):  # a cache folder that cannot be written to costs time, never a run
        write_json(memo, value | {"check": digest(value)})
    return sha256


def read_memo(memo: Path) -> dict[str, Any] | None:
    """Return what was written down; None where there is nothing, or something else than what was written."""
    try:
        value = read_json(memo)
        rest = {key: each for key, each in value.items() if key != "check"}
        return rest if value["check"] == digest(rest) else None
    except (StoreError, KeyError, TypeError, ValueError, AttributeError):
        return None
