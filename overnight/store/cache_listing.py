"""What is in the caches, found by looking at their folder, so that those of any version are listed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from overnight.errors import UsageError
from overnight.store.pair_cache import KIND as PAIRS
from overnight.store.request_cache import KIND as REQUESTS
from overnight.store.segments import audit, segments

MODELS = "models"
DIGESTS = "digests"  # of files that users keep, by their size and time of change
STATES = "states"  # of models, by what they depend on
VECTORS = "vectors"  # directions of traits
LENSES = "lenses"  # that were fitted
SEGMENTED = frozenset({REQUESTS, PAIRS})  # kinds that are kept line by line
_KINDS = (
    frozenset({"items", MODELS, DIGESTS, STATES, VECTORS, LENSES}) | SEGMENTED
)  # those that may be named before there is any
_KEY_DIGITS = 64
LOCK = ".lock"


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
    answers: int | None  # of kinds that are kept line by line; None for others
    bytes: int
    oldest: datetime
    newest: datetime


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
            answers=sum(audit(e.path).n_lines for e in own) if kind in SEGMENTED else None,
            bytes=sum(e.bytes for e in own),
            oldest=min(e.changed for e in own),
            newest=max(e.changed for e in own),
        )
        for kind, own in by_kind.items()
    ]


def weights_of(folder: Path) -> list[Path]:
    """Return the files of weights in a model's folder, without locks and what downloads have left."""
    own = [path for path in folder.iterdir() if not path.name.startswith(".")]
    nested = (inner for path in own if path.is_dir() for inner in path.rglob("*"))
    return sorted(path for path in (*own, *nested) if path.is_file())


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
        yield from (path for path in _subfolders(folder) if any(p.name != LOCK for p in path.iterdir()))
    elif kind in SEGMENTED:
        for model in _subfolders(folder):
            yield from segments(model)
    else:
        for shelf in _subfolders(folder):
            yield from (path for path in _subfolders(shelf) if len(path.name) == _KEY_DIGITS)
