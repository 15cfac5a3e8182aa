"""Chunks: the vectors of a trial that are worked on and written down together, and which of them count."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Self

from overnight.best_of_k.vector import Vector
from overnight.errors import StoreError
from overnight.store.inside import below
from overnight.store.journal import is_done, parse_line, read_rows
from overnight.store.run_folder import RunFolder

AGAIN: Final = "`overnight resume` works on its vectors again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A line of ``chunks.jsonl``: vectors all of whose draws are in the journal, and their reconstructions on disk."""

    first: int  # index of the first vector
    n: int  # vectors, whose indices follow each other
    path: str  # of the reconstructions, [n, draws, D], in the folder of the run
    sha256: str
    bytes: int
    seconds_drawing: float
    seconds_encoding: float
    tokens_drawn: int
    tokens_encoded: int
    rows: int  # texts that were drawn at a time
    encoder_rows: int  # texts that were encoded at a time
    halvings: int  # of both, since memory ran out
    rank: int  # of the process that worked on it

    @property
    def indices(self) -> range:
        """Of its vectors."""
        return range(self.first, self.first + self.n)

    def to_json(self) -> dict[str, Any]:
        """Return its line."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Self:
        """Return the chunk of a line.

        Raises:
            TypeError: it has other fields, or other values in them.
            ValueError: it is of no vectors.
            StoreError: its file is outside of the run.
        """
        below(Path(), row.get("path"))
        found = cls(**row)
        for field in fields(cls):
            value = getattr(found, field.name)
            wanted = {"str": str, "int": int, "float": int | float}[
                getattr(field.type, "__name__", str(field.type))
            ]
            if isinstance(value, bool) or not isinstance(value, wanted):
                raise TypeError(f"{field.name} is {type(value).__name__}")
        if found.first < 0 or found.n < 1:
            raise ValueError(f"{found.n} vectors from {found.first} on")
        return found


def read_chunks(path: Path) -> Iterator[Chunk]:
    """Yield the chunks of a file in the order in which they were done; a torn last line is passed over.

    Raises:
        StoreError: a line is something else.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield Chunk.from_json(parse_line(line))
            except (ValueError, TypeError, AttributeError, StoreError):
                raise StoreError(f"{path}:{number}: not a chunk; delete the line, and {AGAIN}") from None


def whole_chunks(folder: RunFolder, slug: str, n_draws: int) -> tuple[Chunk, ...]:
    """Return the chunks of a trial that count, by their first vectors; no two share a vector.

    One counts once its draws are in the journal and its reconstructions lie where its line says, in their length; of
    two of the same vectors the later one.

    Raises:
        StoreError: the journal or the list of chunks is damaged.
    """
    files = folder.trial(slug)
    lines = list(read_chunks(files.chunks))
    drawn = draws_done(files.journal) if lines else {}
    all_drawn = (1 << n_draws) - 1
    taken: set[int] = set()
    found: list[Chunk] = []
    for chunk in reversed(lines):
        if (
            taken.isdisjoint(chunk.indices)
            and all(drawn.get(index, 0) & all_drawn == all_drawn for index in chunk.indices)
            and _has_length(folder.path / chunk.path, chunk.bytes)
        ):
            taken.update(chunk.indices)
            found.append(chunk)
    return tuple(sorted(found, key=lambda chunk: chunk.first))


def vectors_done(chunks: Iterable[Chunk]) -> set[int]:
    """Return the indices of the vectors of some chunks."""
    return {index for chunk in chunks for index in chunk.indices}


def left_to_do(vectors: Sequence[Vector], done: set[int], size: int) -> Iterator[tuple[Vector, ...]]:
    """Yield the vectors that are left, in the order of their indices, as chunks without a gap."""
    some: list[Vector] = []
    for vector in vectors:
        if vector.index in done:
            continue
        if some and (len(some) == size or vector.index != some[-1].index + 1):
            yield tuple(some)
            some = []
        some.append(vector)
    if some:
        yield tuple(some)


def draws_done(journal: Path) -> dict[int, int]:
    """Return, by vector, which of its draws are in a journal: bit by bit.

    Raises:
        StoreError: the journal is damaged.
    """
    found: dict[int, int] = defaultdict(int)
    for row in read_rows(journal):
        if is_done(row):
            found[row["vector"]] |= 1 << row["draw"]
    return found


def _has_length(path: Path, n_bytes: int) -> bool:
    try:
        return path.stat().st_size == n_bytes
    except OSError:
        return False
