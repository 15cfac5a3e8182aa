"""Vectors in the cache and in a run, one stage a process."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scaling_worker import Stage, measure

from overnight.best_of_k.estimating import Resampling, at_each_k
from overnight.best_of_k.sums import RecoveryTally
from overnight.best_of_k.vector import Vector
from overnight.ids import digest
from overnight.vectors.key import StateKey
from overnight.vectors.row_file import BLOCK_ROWS
from overnight.vectors.states import StateStore
from overnight.vectors.vector_set import VectorSet, write_vector_set

WIDTH = 576
_APPENDED = 256  # vectors a call, as a batch of texts gives
_PER_TEXT = 64
_KS = (1, 2, 4)
_KEY = StateKey(
    model_digest="a" * 64, held="float32", points=("15.residual_out",), positions="tokens", rendering="plain"
)


def keys(first: int, end: int) -> list[str]:
    return [digest(["vector", index]) for index in range(first, end)]


def append(n: int, folder: Path) -> Callable[[], float]:
    store = StateStore(_KEY, folder / "cache")
    states = np.random.default_rng(0).standard_normal((_APPENDED, 1, WIDTH)).astype(np.float32)

    def work() -> float:
        for first in range(0, n, _APPENDED):
            some = keys(first, min(n, first + _APPENDED))
            store.append(some, states[: len(some)])
        return sum(path.stat().st_size for path in store.folder.iterdir()) / n

    return work


def open_cache(n: int, folder: Path) -> Callable[[], None]:
    def work() -> None:
        if len(StateStore(_KEY, folder / "cache")) != n:
            raise RuntimeError("not all vectors are there")

    return work


def find(n: int, folder: Path) -> Callable[[], None]:
    store = StateStore(_KEY, folder / "cache")

    def work() -> None:
        for first in range(0, n, BLOCK_ROWS):  # each shard is read and checked once
            if store.missing(keys(first, min(n, first + BLOCK_ROWS))):
                raise RuntimeError("a vector is missing")

    return work


def read_block(n: int, folder: Path) -> Callable[[], None]:
    store = StateStore(_KEY, folder / "cache")

    def work() -> None:
        # A share of each size, so that the time for each can be compared.
        for first in range(0, max(1, n // 10), BLOCK_ROWS):
            store.read(keys(first, min(n, first + BLOCK_ROWS)))

    return work


def copy(n: int, folder: Path) -> Callable[[], float]:
    store = StateStore(_KEY, folder / "cache")
    vectors = list(_vectors(n))
    facts = {"name": "n", "n_read": n, "halvings": 0, "seconds": 0.0}

    def work() -> float:
        write_vector_set(folder / "run", _KEY, store, vectors, [], facts)
        return sum(path.stat().st_size for path in (folder / "run").iterdir()) / n

    return work


def open_set(_: int, folder: Path) -> Callable[[], None]:
    return lambda: VectorSet.read(folder / "run").rows(0, 16) is None or None


def read_table(n: int, folder: Path) -> Callable[[], None]:
    found = VectorSet.read(folder / "run")

    def work() -> None:
        if len(found.vectors) != n:
            raise RuntimeError("not all vectors are there")

    return work


def recover(n: int, folder: Path) -> Callable[[], None]:
    """Sum what the best of 4 draws recovers, and resample: what `RecoveryCurves` does for one selector."""
    found = VectorSet.read(folder / "run")
    noise = np.random.default_rng(1).standard_normal((len(_KS) + 1, WIDTH)).astype(np.float32)
    weights = np.array([[1.0 / k if draw < k else 0.0 for draw in range(max(_KS))] for k in _KS])

    def work() -> None:
        tally = RecoveryTally(_KS, WIDTH)
        for first in range(0, n, BLOCK_ROWS):
            for at, x in enumerate(found.rows(first, min(n, first + BLOCK_ROWS)), start=first):
                tally.add(f"text {at // _PER_TEXT}", x, x + noise[: max(_KS)], weights)
        sums = tally.sums()
        how = Resampling(n_resamples=1000, confidence=0.95, seed=0)
        at_each_k(sums, how.numbers(sums), how)

    return work


def _vectors(n: int) -> Iterator[Vector]:
    for index, key in enumerate(keys(0, n)):
        yield Vector(
            index=index,
            key=key,
            dataset="made_up",
            item_id=f"text{index // _PER_TEXT}",
            place=index % _PER_TEXT,
            position=40 + index % _PER_TEXT,
            n_tokens=120,
            token=" water",  # noqa: S106 - a word
            before="x" * 160,
            after="x" * 80,
            role=None,
        )


STAGES: dict[str, Stage] = {
    "append to the cache": append,
    "open the cache": open_cache,
    "find and check all": find,
    "read a tenth in blocks": read_block,
    "copy into a run": copy,
    "open those of a run": open_set,
    "read their table": read_table,
    "sum and resample the best of 4": recover,
}

if __name__ == "__main__":
    measure(STAGES)
