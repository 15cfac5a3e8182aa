"""What was drawn in a trial of a best-of-K sweep: numbers in memory, texts and reconstructions where they are wanted.

A chunk counts once its line is there; a draw of it counts if the journal says that it was answered.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from overnight.best_of_k.frontier import DrawCosts
from overnight.errors import StoreError
from overnight.ids import file_digest
from overnight.stats.pairs import FloatArray
from overnight.store.journal import is_done, parse_line
from overnight.store.run_folder import TrialFolder
from overnight.vectors.floats import Kept, widen
from overnight.vectors.shards import map_shard

_OPEN_FILES = 128  # mapped at a time; each takes a file handle


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Vectors that were worked on together; a line of ``chunks.jsonl``."""

    first: int  # index of its first vector
    n: int
    path: Path
    sha256: str
    seconds_drawing: float | None
    seconds_encoding: float | None
    tokens_encoded: int | None
    halvings: int

    @property
    def seconds(self) -> float | None:
        """Of the device, drawing and encoding; None where one of the two was not timed."""
        if self.seconds_drawing is None or self.seconds_encoding is None:
            return None
        return self.seconds_drawing + self.seconds_encoding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """The draws of a trial, n of each of N vectors."""

    journal: Path
    kept: Kept
    chunks: tuple[Chunk, ...]  # in the order of their vectors
    is_answered: NDArray[np.bool_]  # [N, n]
    n_tokens: NDArray[np.int32]  # [N, n], 0 where there is none
    logprobs: FloatArray  # [N, n] in nats, sums over the tokens; NaN where there is none
    places: NDArray[np.int64]  # [N, n] of the rows in the journal, in bytes
    _chunk_of: NDArray[np.int32]  # [N], -1 for a vector of no chunk

    @classmethod
    def read(cls, trial: TrialFolder, n_vectors: int, n_draws: int, kept: Kept) -> Self:
        """Return what the files of a trial say, checked.

        Raises:
            StoreError: a file is missing, or not what its line says.
        """
        chunks = tuple(_read_chunks(trial, n_vectors))
        chunk_of = np.full(n_vectors, -1, dtype=np.int32)
        for number, chunk in enumerate(chunks):
            chunk_of[chunk.first : chunk.first + chunk.n] = number
            if not chunk.path.is_file() or file_digest(chunk.path) != chunk.sha256:
                what = "changed since it was written" if chunk.path.is_file() else "not there"
                raise StoreError(
                    f"{chunk.path}: {what}; delete its line of {trial.chunks.name} to have it made"
                )
        answered = np.zeros((n_vectors, n_draws), dtype=np.bool_)
        n_tokens = np.zeros((n_vectors, n_draws), dtype=np.int32)
        logprobs = np.full((n_vectors, n_draws), np.nan)
        places = np.full((n_vectors, n_draws), -1, dtype=np.int64)
        for place, row in _rows(trial.journal):
            vector, draw = row.get("vector"), row.get("draw")
            if not isinstance(vector, int) or not isinstance(draw, int):
                raise StoreError(f"{trial.journal}: byte {place}: the row of no draw of a vector")
            if not (0 <= vector < n_vectors and 0 <= draw < n_draws) or not is_done(row):
                continue  # a draw of another K, or one that failed: a later row may be its answer
            answered[vector, draw] = chunk_of[vector] >= 0
            places[vector, draw] = place
            n_tokens[vector, draw] = row.get("completion_tokens") or 0
            if row.get("logprob_sum") is not None:
                logprobs[vector, draw] = row["logprob_sum"]
        return cls(
            journal=trial.journal,
            kept=kept,
            chunks=chunks,
            is_answered=answered,
            n_tokens=n_tokens,
            logprobs=logprobs,
            places=places,
            _chunk_of=chunk_of,
        )

    @property
    def n_draws(self) -> int:
        """Draws a vector, as many as were wanted."""
        return int(self.is_answered.shape[1])

    @property
    def vectors(self) -> NDArray[np.intp]:
        """Indices of the vectors that are in a chunk, ascending."""
        return np.flatnonzero(self._chunk_of >= 0)

    def reconstructions(self, vector: int) -> NDArray[np.float32]:
        """Return ``[n, D]``, NaN for a draw that failed.

        Raises:
            StoreError: the file of its chunk cannot be read, or is of another shape.
        """
        chunk = self.chunks[self._chunk_of[vector]]
        found = widen(self._states(chunk)[vector - chunk.first], self.kept)
        if self.is_answered[vector].all():
            return found
        return np.where(self.is_answered[vector][:, np.newaxis], found, np.float32(np.nan))

    def reconstruction(self, vector: int, draw: int) -> NDArray[np.float32]:
        """Return ``[D]``, that of one draw."""
        chunk = self.chunks[self._chunk_of[vector]]
        return widen(self._states(chunk)[vector - chunk.first, draw], self.kept)

    def texts(self, vector: int) -> list[str | None]:
        """Return the text of each draw; None where it failed."""
        found: list[str | None] = []
        with self.journal.open("rb") as file:
            for place, answered in zip(self.places[vector], self.is_answered[vector], strict=True):
                if answered:
                    file.seek(place)
                    found.append(str(parse_line(file.readline())["text"]))
                else:
                    found.append(None)
        return found

    def costs(self, vectors: NDArray[np.intp]) -> DrawCosts:
        """Return what the draws of some vectors took: of the seconds of a chunk their share of its vectors."""
        n_of_chunk = np.bincount(self._chunk_of[vectors], minlength=len(self.chunks)).tolist()
        timed = [
            (n, chunk.seconds * n / chunk.n)
            for n, chunk in zip(n_of_chunk, self.chunks, strict=True)
            if chunk.seconds is not None
        ]
        return DrawCosts(
            n_draws=len(vectors) * self.n_draws,
            n_usable=int(self.is_answered[vectors].sum()),
            n_tokens=int(self.n_tokens[vectors].sum()),
            n_timed=sum(n for n, _ in timed) * self.n_draws,
            seconds=float(sum(seconds for _, seconds in timed)),
        )

    def _states(self, chunk: Chunk) -> NDArray[Any]:
        states = _mapped(chunk.path, chunk.sha256, self.kept)
        if states.shape[:2] != (chunk.n, self.n_draws):
            raise StoreError(f"{chunk.path}: holds {states.shape[:2]}, wanted {(chunk.n, self.n_draws)}")
        return states


@lru_cache(maxsize=_OPEN_FILES)
def _mapped(path: Path, _sha256: str, kept: Kept) -> NDArray[Any]:
    return map_shard(path, kept)


def _read_chunks(trial: TrialFolder, n_vectors: int) -> list[Chunk]:
    """Return the chunks in the order of their vectors; of two lines of one the later counts."""
    found: dict[int, Chunk] = {}
    for number, line in enumerate(_lines(trial.chunks), start=1):
        try:
            chunk = _chunk(parse_line(line[1]), trial)
        except (ValueError, KeyError, TypeError):
            raise StoreError(f"{trial.chunks}:{number}: not the line of a chunk; restore the file") from None
        found[chunk.first] = chunk
    chunks = [found[first] for first in sorted(found)]
    end = 0
    for chunk in chunks:
        if chunk.first < end or chunk.first + chunk.n > n_vectors:
            raise StoreError(
                f"{trial.chunks}: the chunk at {chunk.first} lies over another one, or beyond {n_vectors} vectors"
            )
        end = chunk.first + chunk.n
    return chunks


def _chunk(row: Mapping[str, Any], trial: TrialFolder) -> Chunk:
    def seconds(name: str) -> float | None:
        return None if row.get(name) is None else float(row[name])

    return Chunk(
        first=int(row["first"]),
        n=int(row["n"]),
        path=trial.reconstructions / Path(row["path"]).name,
        sha256=str(row["sha256"]),
        seconds_drawing=seconds("seconds_drawing"),
        seconds_encoding=seconds("seconds_encoding"),
        tokens_encoded=row.get("tokens_encoded"),
        halvings=int(row.get("halvings") or 0),
    )


def _rows(journal: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for place, line in _lines(journal):
        try:
            row = parse_line(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or "status" not in row:
            raise StoreError(f"{journal}: byte {place}: not a journal row; restore the file")
        yield place, row


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield lines with their places in bytes; a torn last one never counted."""
    if not path.exists():
        return
    place = 0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield place, line
            place += len(line)
