"""The files of a best-of-K sweep: vectors, draws, reconstructions, and whether they are of each other.

The manifest seals the list of chunks of a trial, and each of its lines has the digest of a file of reconstructions.
"""

from pathlib import Path
from typing import Final

from overnight.errors import StoreError
from overnight.ids import file_digest
from overnight.runs.chunks import AGAIN, Chunk, draws_done, read_chunks
from overnight.runs.vector_sets import VectorSet
from overnight.store.files import read_json
from overnight.store.manifest import read_manifest
from overnight.store.run_folder import RunFolder
from overnight.vectors.floats import Kept
from overnight.vectors.shards import map_shard
from overnight.verifying.finding import Check, Finding, finding_of

_VECTORS_AGAIN: Final = "delete its folder, and `overnight resume` reads the vectors again"


def check_draws(folder: RunFolder, slugs: list[str]) -> Check:
    """Check the vectors of a run, and every chunk of some of its trials, one after another."""
    check = Check()
    manifest = read_manifest(folder)
    for path in sorted(path for path in folder.all_vectors.glob("*") if path.is_dir()):
        _check_vectors(folder.path, path, check)
    for slug in slugs:
        requested = manifest.trials[slug].requested
        _check_trial(folder, slug, int(requested["n_draws"]), Kept(requested["kept"]), check)
    return check


def _check_vectors(run: Path, path: Path, check: Check) -> None:
    name = path.relative_to(run).as_posix()
    check.files.add(name)
    try:
        VectorSet.read(path).require_whole()
    except StoreError as error:
        check.findings.append(
            finding_of(run, error, file=name, wanted="the vectors of a layer", remedy=_VECTORS_AGAIN)
        )


def _check_trial(folder: RunFolder, slug: str, n_draws: int, kept: Kept, check: Check) -> None:
    files = folder.trial(slug)
    name = files.chunks.relative_to(folder.path).as_posix()
    check.files.add(name)
    try:
        chunks = list(read_chunks(files.chunks))
        drawn = draws_done(files.journal)
        read_json(files.vectors)
    except StoreError as error:
        check.findings.append(
            finding_of(folder.path, error, file=name, wanted="a line a chunk", remedy=AGAIN)
        )
        return
    for chunk in chunks:
        check.files.add(chunk.path)
        problem = _problem(folder.path / chunk.path, chunk, n_draws, kept)
        if problem is None:
            n_missing = sum(n_draws - drawn.get(index, 0).bit_count() for index in chunk.indices)
            if n_missing:
                problem = f"{n_missing} draws of it are not in the journal", f"all {chunk.n * n_draws}"
        if problem is not None:
            found, wanted = problem
            check.findings.append(Finding(file=chunk.path, found=found, wanted=wanted, remedy=AGAIN))


def _problem(path: Path, chunk: Chunk, n_draws: int, kept: Kept) -> tuple[str, str] | None:
    """Return what was found and what was wanted; None where nothing is wrong with a file of reconstructions."""
    if not path.is_file():
        return "no such file", f"{chunk.bytes:,} bytes"
    if (digest := file_digest(path)) != chunk.sha256:
        return f"sha256 {digest[:12]}\u2026", f"sha256 {chunk.sha256[:12]}\u2026"
    try:
        shape = map_shard(path, kept).shape
    except StoreError as error:
        return str(error).removeprefix(f"{path}: "), "a file of reconstructions"
    if shape[:2] != (chunk.n, n_draws):
        return f"the reconstructions of {shape[:2]}", f"of {chunk.n} vectors and {n_draws} draws"
    return None
