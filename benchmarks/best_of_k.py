"""What the best-of-K sweep saves, and what its vectors cost: ``python benchmarks/best_of_k.py [--only PIECE]``.

What is measured, how, and what it does not say stands in ``README.md`` beside this file.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np
from best_of_k_passes import TEXT_TOKENS, HeldModel, starter_texts
from figures import Figure, Spread, Target, load_average, write_record

from overnight.best_of_k.vector import Vector
from overnight.ids import digest
from overnight.spec.best_of_k import BestOfKExperiment
from overnight.telemetry.cores import physical_cores
from overnight.vectors.floats import Kept
from overnight.vectors.key import StateKey
from overnight.vectors.states import StateStore
from overnight.vectors.vector_set import ROWS, VectorSet, write_vector_set

BENCHMARK = ("best-of-k", "what the best-of-K sweep saves, and what its vectors cost")

_QUICK = {"repeat": 1, "vectors": 1}
_KS = BestOfKExperiment.model_fields["k_values"].default
_N_OPENED, _WIDTH = 10_000, 576
_APPENDED = 256
_DRAWS_BY_PROCESSES = 2  # texts of each vector
_PER_SEQUENCE = 64

Settings = argparse.Namespace


async def draws(settings: Settings, scratch: Path) -> list[Figure]:
    """Count the texts of one draw for all K, and of a draw for each, in the answers of the model."""
    held = HeldModel(scratch, settings.threads)
    once, each = [], []
    async with held.held():
        vectors, _ = await held.read(starter_texts()[: settings.vectors], held.new_cache())
        for _ in range(settings.repeat):
            each.append(await held.draw(vectors, _KS))
            once.append(await held.draw(vectors, [max(_KS)]))
    name = f"a draw for each of K = {', '.join(map(str, _KS))}"
    return [
        Figure(
            name=f"texts of {settings.vectors} vectors, drawn once for all K",
            unit="texts that the model answered with",
            value=Spread(tuple(float(one.n_texts) for one in once)),
            baseline=Spread(tuple(float(one.n_texts) for one in each)),
            baseline_name=name,
            target=Target(of="ratio", bound="at most", limit=0.51),
        ),
        Figure(
            name="the same in time",
            unit="s",
            value=Spread(tuple(one.spent.wall_s for one in once)),
            baseline=Spread(tuple(one.spent.wall_s for one in each)),
            baseline_name=name,
            note=f"at most {TEXT_TOKENS} tokens a text",
        ),
    ]


async def cache(settings: Settings, scratch: Path) -> list[Figure]:
    """Time the whole stage of vectors: with a cache that has them, and with an empty one."""
    held = HeldModel(scratch, settings.threads)
    texts = starter_texts()
    cold, warm = [], []
    async with held.held():
        for _ in range(settings.repeat):
            folder = held.new_cache()
            _, spent = await held.read(texts, folder)
            cold.append(spent.wall_s)
            found, spent = await held.read(texts, folder)
            warm.append(spent.wall_s)
            if not found.was_cached:
                raise RuntimeError("the second reading was to be from the cache")
    n_tokens = sum(vector.n_tokens for vector in found.vectors)
    return [
        Figure(
            name=f"vectors of {len(texts)} texts, from an empty cache over from one that has them",
            unit="s",
            value=Spread(tuple(cold)),
            baseline=Spread(tuple(warm)),
            baseline_name="the same texts for another run, with the cache of the first",
            target=Target(of="ratio", bound="at least", limit=20),
            note=f"{n_tokens} tokens; tokens are made and chosen, and the run's own files written, in both",
        )
    ]


async def size(settings: Settings, scratch: Path) -> list[Figure]:
    """Weigh what is kept of each vector."""
    held = HeldModel(scratch, settings.threads)
    figures = []
    async with held.held():
        for kept in (Kept.FLOAT32, Kept.BFLOAT16):
            folder = held.new_cache()
            found, _ = await held.read(starter_texts(), folder, _PER_SEQUENCE, kept.value)
            bare = float(found.width * kept.dtype.itemsize)
            described = (found.folder / "vectors.jsonl").stat().st_size / len(found)
            for name, n_bytes in (
                ("in the cache, with its index", _bytes(folder / "states")),
                ("in a run, the file of its vectors", (found.folder / ROWS).stat().st_size),
            ):
                figures.append(
                    Figure(
                        name=f"a vector {name}, {kept.value}",
                        unit="bytes",
                        value=Spread((n_bytes / len(found),)),
                        baseline=Spread((bare,)),
                        baseline_name=f"{found.width} numbers",
                        target=Target(of="ratio", bound="at most", limit=1.02),
                        note=f"{len(found)} vectors; beside them a run has a line of each, of {described:.0f} bytes",
                    )
                )
    return figures


async def opening(settings: Settings, scratch: Path) -> list[Figure]:
    """Time opening many vectors."""
    folder = _many_vectors(scratch)
    timed: dict[str, list[float]] = {"open": [], "table": [], "all": []}
    for _ in range(max(5, settings.repeat)):
        started = time.perf_counter()
        found = VectorSet.read(folder)
        found.rows(0, 16)
        timed["open"].append(1e3 * (time.perf_counter() - started))
        if len(found.vectors) != _N_OPENED:
            raise RuntimeError("not all vectors are there")
        timed["table"].append(1e3 * (time.perf_counter() - started))
        started = time.perf_counter()
        found.rows(0, _N_OPENED)
        timed["all"].append(1e3 * (time.perf_counter() - started))
    return [
        Figure(
            name=f"opening {_N_OPENED} vectors, with the first 16 of them read and checked",
            unit="ms",
            value=Spread(tuple(timed["open"])),
            target=Target(of="value", bound="at most", limit=50),
        ),
        Figure(
            name="the same with the table of where each was read, checked and parsed",
            unit="ms",
            value=Spread(tuple(timed["table"])),
        ),
        Figure(
            name=f"checking and mapping all {_N_OPENED} of {_WIDTH} numbers, float32",
            unit="ms",
            value=Spread(tuple(timed["all"])),
        ),
    ]


async def processes(settings: Settings, scratch: Path) -> list[Figure]:
    """Time two processes against one, with the same threads together."""
    texts = starter_texts()
    read: dict[int, list[float]] = {1: [], 2: []}
    drawn: dict[int, list[float]] = {1: [], 2: []}
    for repetition in range(settings.repeat):
        for n in (1, 2):
            held = HeldModel(scratch / f"{repetition}-{n}", settings.threads, n)
            async with held.held():
                vectors, spent = await held.read(texts, held.new_cache())
                read[n].append(len(texts) / spent.wall_s)
                one = await held.draw(vectors, [_DRAWS_BY_PROCESSES])
                drawn[n].append(one.n_texts / one.spent.wall_s)
    note = f"{settings.threads} threads in all, {physical_cores()} physical cores; loading is in neither"
    return [
        Figure(
            name=name,
            unit=unit,
            value=Spread(tuple(rates[2])),
            baseline=Spread(tuple(rates[1])),
            baseline_name="one process",
            note=note,
        )
        for name, unit, rates in (
            ("two processes that read vectors", "texts/s", read),
            ("two processes that say vectors in words", "texts/s", drawn),
        )
    ]


_PIECES: dict[str, Callable[[Settings, Path], Awaitable[list[Figure]]]] = {
    "draws": draws,
    "cache": cache,
    "size": size,
    "opening": opening,
    "processes": processes,
}


def main() -> int:
    """Measure, print, write; return 1 if something could not be measured, whatever the figures are."""
    settings = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that folders and processes go away then, too
    # What our hosts set for themselves; a text model beside them is not there.
    os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
    load_before = load_average()
    figures: list[Figure] = []
    not_measured: dict[str, str] = {}
    for name in settings.only:
        with tempfile.TemporaryDirectory(
            prefix="overnight-benchmark-", ignore_cleanup_errors=True
        ) as scratch:
            try:
                found = asyncio.run(_measured(name, settings, Path(scratch)))
            except Exception as error:  # noqa: BLE001 - the other pieces are measured all the same, and this is said
                not_measured[name] = f"{type(error).__name__}: {error}"
                print(f"{name} not measured: {not_measured[name]}\n")
                continue
        figures += found
        for figure in found:
            print(*figure.lines(), "", sep="\n", flush=True)
    if settings.out:
        write_record(
            settings.out,
            benchmark="best_of_k",
            figures=figures,
            settings={
                "repeat": settings.repeat,
                "threads": settings.threads,
                "vectors": settings.vectors,
                "pieces": list(settings.only),
            },
            not_measured=not_measured,
            load_before=load_before,
        )
    return 1 if not_measured else 0


async def _measured(name: str, settings: Settings, scratch: Path) -> Sequence[Figure]:
    return await _PIECES[name](settings, scratch)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _many_vectors(scratch: Path) -> Path:
    """Return the folder of a set of vectors, made as a run makes it."""
    key = StateKey(
        model_digest="a" * 64,
        held="float32",
        points=("15.residual_out",),
        positions="one token",
        rendering="plain",
    )
    store = StateStore(key, scratch / "cache")
    vectors = [
        Vector(
            index=index,
            key=digest(index),
            dataset="starter_texts",
            item_id=digest(["text", index])[:16],
            place=0,
            position=40,
            n_tokens=96,
            token=" water",  # noqa: S106 - a word
            before="x" * 160,
            after="x" * 80,
            role=None,
        )
        for index in range(_N_OPENED)
    ]
    numbers = np.random.default_rng(0)
    for first in range(0, _N_OPENED, _APPENDED):
        some = vectors[first : first + _APPENDED]
        states = numbers.standard_normal((len(some), 1, _WIDTH)).astype(np.float32)
        store.append([vector.key for vector in some], states)
    folder = scratch / "run"
    facts = {"name": "n", "n_read": _N_OPENED, "halvings": 0, "seconds": 0.0}
    write_vector_set(folder, key, store, vectors, [], facts)
    return folder


def _arguments() -> Settings:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", choices=list(_PIECES), default=list(_PIECES), metavar="PIECE", help="some pieces"
    )
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="times that each has a turn")
    parser.add_argument(
        "--vectors", type=int, default=4, metavar="N", help="that are said in words for `draws`"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="default: the physical cores")
    parser.add_argument("--quick", action="store_true", help="once, with one vector: noisy, for trying out")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the figures there as well")
    if "--quick" in sys.argv[1:]:
        parser.set_defaults(**_QUICK)
    settings = parser.parse_args()
    settings.threads = settings.threads or physical_cores()
    return settings


if __name__ == "__main__":
    raise SystemExit(main())
