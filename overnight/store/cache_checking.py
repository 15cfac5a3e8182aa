"""Whether what is kept is what it was: everything is read in full and compared with its digest."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from overnight.engines.hf_folders import folder_digest
from overnight.engines.sentence_folders import files_with_modules
from overnight.errors import UsageError
from overnight.ids import digest, file_digest
from overnight.store.cache_listing import DIGESTS, MODELS, SEGMENTED, STATES, CacheEntry
from overnight.store.content_store import ENTRY_FILE, read_entry
from overnight.store.digest_memo import read_memo
from overnight.store.manifest import broken_seals
from overnight.store.segments import audit, is_being_written
from overnight.vectors.state_checking import state_problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that is not what it was."""

    kind: str
    path: Path
    found: str


def verify(entry: CacheEntry) -> list[Problem]:
    """Read an entry in full and return what is wrong with it."""
    check = {MODELS: _weights_problems, DIGESTS: _digest_problems, STATES: state_problems} | dict.fromkeys(
        SEGMENTED, _segment_problems
    )
    try:
        found = list(check.get(entry.kind, _content_problems)(entry.path))
    except FileNotFoundError:
        found = []  # taken away meanwhile
    except OSError as error:
        found = [f"cannot be read ({error.strerror})"]
    return [Problem(kind=entry.kind, path=entry.path, found=text) for text in found]


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
    for kept in sorted(each for each in path.iterdir() if not each.name.startswith(".")):
        try:
            found = _weights_digest(kept)
        except UsageError as error:
            yield f"{error}; loaded anew when it is needed"
            continue
        if found != path.name:
            yield f"{kept.name} has sha256 {found}, not the one that it is kept under; loaded anew when it is needed"


def _weights_digest(kept: Path) -> str:
    if not kept.is_dir():
        return file_digest(kept)
    files = files_with_modules(kept, kept.name)
    return folder_digest({name: file_digest(file) for name, file in files.items()})


def _segment_problems(path: Path) -> Iterator[str]:
    found = audit(path)
    for number in found.damaged:
        yield f"line {number} is not what was written; its request will be sent again"
    if found.is_torn and not is_being_written(path):
        yield "the last line has no end; its request will be sent again"


def _digest_problems(path: Path) -> Iterator[str]:
    if read_memo(path) is None:
        yield "not a digest; computed anew when it is needed"
