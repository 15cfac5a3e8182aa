"""The submit and poll steps of a best-of-K trial: each vector is said in words, and the words are made vectors again.

Chunk by chunk, one in flight at every process that holds the model. A chunk is on disk in three writes: its draws in
the journal, its reconstructions in a file, its line among the chunks, which says that the others are there.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from overnight.best_of_k.vector import Vector
from overnight.errors import BadResponse, EngineUnavailable, StopRequested, UsageError
from overnight.ids import custom_id
from overnight.lens.request import (
    ReconstructAnswer,
    ReconstructRequest,
    Verbalisation,
    VerbaliseAnswer,
    VerbaliseRequest,
)
from overnight.planning.best_of_k_trials import BestOfKTrial
from overnight.planning.plan import ModelBlock, Plan
from overnight.records import Condition, FinishReason
from overnight.runs.chunks import Chunk, left_to_do, read_chunks, vectors_done, whole_chunks
from overnight.runs.expected import expected_draws
from overnight.runs.generating import Generated, count_draws, stop_signal
from overnight.spec.execution import Execution
from overnight.store.files import atomic_bytes, scratch_folder
from overnight.store.journal import Journal, Row, is_done, line_of, read_rows
from overnight.store.run_folder import RunFolder, TrialFolder
from overnight.telemetry.progress import BOARD
from overnight.vectors.floats import Kept, narrow
from overnight.vectors.shards import SUFFIX, write_shard

VECTORS: Final = "vectors"  # the tensor of the files that go to the host and come back

_ROUNDS = 10

T = TypeVar("T")


class Verbaliser(Protocol):
    """A process that holds the model, as far as it is asked here."""

    async def verbalise(self, request: VerbaliseRequest) -> VerbaliseAnswer:
        """Return texts of vectors."""
        ...

    async def reconstruct(self, request: ReconstructRequest) -> ReconstructAnswer:
        """Return when the vectors of texts are written."""
        ...

    async def recover(self) -> None:
        """Return when it can be asked again after it was unavailable."""
        ...


class VectorRows(Protocol):
    """Vectors of a model and a layer, of all datasets."""

    @property
    def vectors(self) -> Sequence[Vector]:
        """Where each was read, by its index."""
        ...

    def rows(self, first: int, end: int) -> NDArray[np.float32]:
        """Return ``[end - first, D]``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VerbalisingWork:
    """A trial whose vectors are said in words, and with what."""

    folder: RunFolder
    plan: Plan
    block: ModelBlock
    trial: BestOfKTrial
    lens: Path  # folder of a lens that is fitted to the model that is held
    vectors: VectorRows
    execution: Execution

    @property
    def files(self) -> TrialFolder:
        """The trial's folder."""
        return self.folder.trial(self.trial.slug)

    @property
    def own_vectors(self) -> tuple[Vector, ...]:
        """Those of the trial's dataset.

        Raises:
            UsageError: there are none.
        """
        own = tuple(each for each in self.vectors.vectors if each.dataset == self.trial.dataset)
        if not own:
            raise UsageError(
                f"dataset {self.trial.dataset}: none of its texts has a token to take (experiment.positions.min_pos is "
                f"{self.trial.positions.min_pos}); lower it, or name longer texts"
            )
        return own


async def verbalise(
    work: VerbalisingWork, engines: Sequence[Verbaliser], *, until: datetime | None = None
) -> Generated:
    """Draw texts of every vector that is not done, and encode them; return when all of it is on disk.

    Args:
        work: the trial.
        engines: one a process that holds the model; each has one chunk in flight.
        until: after it no chunk is begun any more; what is under way is waited for.

    Raises:
        StopRequested: somebody asked the run to stop; what was drawn is on disk.
        OutOfMemory: not even a single text fits.
        UsageError: the trial has no vector, or the lens is none for the model.
        EngineError: an engine is gone for good.
    """
    trial, files = work.trial, work.files
    vectors = work.own_vectors
    stop = stop_signal(work.folder)
    chunks = whole_chunks(work.folder, trial.slug, trial.n_draws)
    _keep_only(work.folder, files, chunks)
    done = vectors_done(chunks)
    todo = left_to_do(vectors, done, work.execution.lens.vectors_per_chunk)
    n_before = len(done) * trial.n_draws
    BOARD.start(trial.slug, n_expected=expected_draws(work.folder, work.plan, trial), n_done=n_before)
    started = time.perf_counter()
    n_sent = 0
    try:
        with Journal(files.journal) as journal, Journal(files.chunks) as lines:
            drawing = _Drawing(work, journal, lines, done, stop)

            def has_time() -> bool:
                return not stop() and (until is None or datetime.now(UTC) < until)

            async def keep_busy(rank: int, engine: Verbaliser) -> None:
                while has_time() and (some := next(todo, None)) is not None:
                    await drawing.chunk(some, rank, engine)

            try:
                async with asyncio.TaskGroup() as ranks:
                    for rank, engine in enumerate(engines):
                        ranks.create_task(keep_busy(rank, engine))
            except BaseExceptionGroup as failures:
                raise failures.exceptions[0] from None  # they fail together; the first one says why
            finally:
                n_sent = drawing.n_drawn
    finally:
        inference_s = time.perf_counter() - started
        BOARD.end(trial.slug)
    counts = count_draws(work.folder, work.plan, trial)
    if stop() and counts.done < counts.expected:
        raise StopRequested(
            f"{trial.slug}: {counts.expected - counts.done} of {counts.expected} draws are left"
        )
    return Generated(counts=counts, inference_s=inference_s, n_sent=n_sent)


async def verbalise_in_turns(
    works: Sequence[VerbalisingWork],
    engines: Sequence[Verbaliser],
    *,
    until: datetime,
    on_turn: Callable[[BestOfKTrial, Generated], None],
) -> None:
    """Draw of every trial in turn, until all are done or there is no time left.

    A round takes about a tenth of the time there is, so that the trials are never further apart than that.

    Args:
        works: trials of one model.
        engines: one a process that holds the model.
        until: after it no chunk is begun any more.
        on_turn: told of what came of each trial's turn.

    Raises:
        As ``verbalise``.
    """
    turn = (until - datetime.now(UTC)) / _ROUNDS / max(1, len(works))
    left = list(works)
    while left:
        for work in tuple(left):
            now = datetime.now(UTC)
            if now >= until:
                return
            generated = await verbalise(work, engines, until=min(until, now + turn))
            on_turn(work.trial, generated)
            if generated.counts.done == generated.counts.expected:
                left.remove(work)


class _Drawing:
    """Works on chunks, and writes down what comes of them."""

    def __init__(
        self,
        work: VerbalisingWork,
        journal: Journal,
        lines: Journal,
        done: set[int],
        stop: Callable[[], bool],
    ) -> None:
        self._work = work
        self._journal = journal
        self._lines = lines
        self._stop = stop
        self._writing = asyncio.Lock()
        self._parts = {
            (item.dataset, item.item_id): (item, part.name)
            for part in work.plan.parts_of(work.trial)
            for item in part.items
        }
        self._known = _interrupted(work.files.journal, done)
        self.n_drawn = 0

    async def chunk(self, vectors: Sequence[Vector], rank: int, engine: Verbaliser) -> None:
        """Draw and encode texts of some vectors, whose indices follow each other."""
        with scratch_folder("chunk") as scratch:
            drawn, rows = await self._draw(vectors, engine, scratch)
            if self._stop():
                return
            encoded, states = await self._encode(rows, engine, scratch)
        trial, folder = self._work.trial, self._work.folder
        kept = Kept(trial.kept)
        path = self._work.files.reconstructions / f"{vectors[0].index:08d}{SUFFIX}"
        shape = (len(vectors), trial.n_draws, states.shape[-1])
        metadata = {"first": str(vectors[0].index), "trial": trial.slug}
        sha256, n_bytes = await asyncio.to_thread(
            write_shard, path, _narrowed(states.reshape(shape), kept), kept, metadata
        )
        line = Chunk(
            first=vectors[0].index,
            n=len(vectors),
            path=path.relative_to(folder.path).as_posix(),
            sha256=sha256,
            bytes=n_bytes,
            seconds_drawing=round(drawn.seconds, 4),
            seconds_encoding=round(encoded.seconds, 4),
            tokens_drawn=sum(row["completion_tokens"] for row in rows),
            tokens_encoded=encoded.n_tokens,
            rows=drawn.rows,
            encoder_rows=encoded.rows,
            halvings=drawn.halvings + encoded.halvings,
            rank=rank,
        )
        await self._write(self._lines, [line.to_json()])
        BOARD.add(
            trial.slug,
            n_done=len(rows),
            n_errors=0,
            completion_tokens=line.tokens_drawn,
        )

    async def _draw(
        self, vectors: Sequence[Vector], engine: Verbaliser, scratch: Path
    ) -> tuple[VerbaliseAnswer, list[Row]]:
        """Return the rows of all draws of some vectors, which are in the journal by then.

        A draw that an interrupted chunk has left there stands: its reconstruction is made of the text that was kept.
        """
        trial = self._work.trial
        path = scratch / f"drawn{SUFFIX}"
        rows = self._work.vectors.rows(vectors[0].index, vectors[-1].index + 1)
        save_file({VECTORS: np.ascontiguousarray(rows, dtype=np.float32)}, path)
        request = VerbaliseRequest(
            lens=self._work.lens,
            vectors=path,
            keys=tuple(vector.key for vector in vectors),
            n_draws=trial.n_draws,
            temperature=trial.temperature,
            top_p=trial.top_p,
            top_k=trial.top_k,
            max_new_tokens=trial.lens.text_tokens,
            seed=trial.sampling.seed,
            rows=self._work.execution.lens.max_generation_batch_size,
        )
        answer = await self._patiently(engine, lambda: engine.verbalise(request))
        if [len(of_vector) for of_vector in answer.draws] != [trial.n_draws] * len(vectors):
            raise BadResponse(f"wanted {trial.n_draws} texts of each of {len(vectors)} vectors, got others")
        new: list[Row] = []
        found: list[Row] = []
        for vector, draws in zip(vectors, answer.draws, strict=True):
            for number, draw in enumerate(draws):
                row = self._known.get((vector.index, number))
                if row is None:
                    row = self._row(vector, number, draw)
                    new.append(row)
                found.append(row)
        await self._write(self._journal, new)
        self.n_drawn += len(new)
        return answer, found

    async def _encode(
        self, rows: Sequence[Row], engine: Verbaliser, scratch: Path
    ) -> tuple[ReconstructAnswer, NDArray[np.float32]]:
        path = scratch / f"encoded{SUFFIX}"
        reads_text = self._work.trial.encode == "text"
        request = ReconstructRequest(
            lens=self._work.lens,
            out=path,
            texts=tuple(row["text"] for row in rows) if reads_text else None,
            token_ids=None if reads_text else tuple(tuple(row["token_ids"]) for row in rows),
            rows=self._work.execution.lens.encoder_batch_size,
        )
        answer = await self._patiently(engine, lambda: engine.reconstruct(request))
        states = load_file(path)[VECTORS]
        if states.ndim != 2 or len(states) != len(rows):  # noqa: PLR2004 - texts x D
            raise BadResponse(f"wanted the vectors of {len(rows)} texts, got {states.shape}")
        return answer, states

    async def _patiently(self, engine: Verbaliser, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask; where the engine is gone, wait until it is back and ask again."""
        for _ in range(self._work.execution.max_engine_restarts):
            try:
                return await ask()
            except EngineUnavailable:
                await engine.recover()
        return await ask()

    async def _write(self, journal: Journal, rows: Sequence[Row]) -> None:
        async with self._writing:
            await asyncio.to_thread(journal.append, rows)

    def _row(self, vector: Vector, number: int, draw: Verbalisation) -> Row:
        trial, held = self._work.trial, self._work.block.held.model
        item, part = self._parts[vector.dataset, vector.item_id]
        index = vector.place * trial.n_draws + number
        return {
            "custom_id": custom_id(
                item.key, Condition.CONTROL.value, trial.temperature, index, item.type.value
            ),
            "status": "ok",
            "vector": vector.index,
            "draw": number,
            "text": draw.text,
            "token_ids": list(draw.token_ids),
            "completion_tokens": draw.n_tokens,
            "logprob_sum": draw.logprob,
            "finish_reason": FinishReason(draw.finish_reason).value,
            "error": None,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "part": part,
            "model": held.name,
            "model_digest": held.weights_identity,
            "trial": trial.slug,
        }


def _interrupted(journal: Path, done: set[int]) -> Mapping[tuple[int, int], Row]:
    """Return the draws that a journal has of vectors which are not done, by vector and draw."""
    found: dict[tuple[int, int], Row] = {}
    for row in read_rows(journal):
        if is_done(row) and row["vector"] not in done:
            found.setdefault((row["vector"], row["draw"]), row)
    return found


def _narrowed(states: NDArray[np.float32], kept: Kept) -> NDArray[Any]:
    try:
        return narrow(states, kept)
    except ValueError as error:
        raise BadResponse(f"a reconstruction cannot be kept: {error}") from None


def _keep_only(folder: RunFolder, files: TrialFolder, chunks: Sequence[Chunk]) -> None:
    """Take away the lines and the files of chunks that do not count: of a process that was killed, or damaged since."""
    if list(read_chunks(files.chunks)) != list(chunks):
        with atomic_bytes(files.chunks) as lines:
            for chunk in chunks:
                lines.write(line_of(chunk.to_json()))
    wanted = {folder.path / chunk.path for chunk in chunks}
    for path in files.reconstructions.glob(f"*{SUFFIX}"):
        if path not in wanted:
            path.unlink()
