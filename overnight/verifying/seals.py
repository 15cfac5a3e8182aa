"""The seals of a run: the size and the digest that every finished file had."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from overnight.ids import file_digest
from overnight.store.manifest import Artifact, RunManifest
from overnight.verifying.finding import Finding

_DIGITS = 12


def sealed_files(manifest: RunManifest) -> dict[str, tuple[Artifact, str]]:
    """Return every sealed file of a run by its name, with what to do where it is not what it was."""
    run = manifest.run_id
    found: dict[str, tuple[Artifact, str]] = {
        name: (artifact, "its items are frozen: copy the file back, or begin a new run")
        for name, artifact in manifest.items.items()
    }
    for record in manifest.trials.values():
        for name, artifact in record.artifacts.items():
            found[name] = (artifact, f"`overnight resume {run}` makes it again")
    for name, artifact in manifest.artifacts.items():
        found[name] = (artifact, f"`overnight report {run}` writes it again")
    return found


def check_seals(run: Path, files: Mapping[str, tuple[Artifact, str]]) -> Iterator[Finding]:
    """Yield the files that are missing or have changed."""
    for name, (artifact, remedy) in files.items():
        path = run / name
        if not path.is_file():
            yield Finding(file=name, found="no such file", wanted=f"{artifact.bytes:,} bytes", remedy=remedy)
            continue
        n_bytes = path.stat().st_size
        if n_bytes != artifact.bytes:
            yield Finding(
                file=name, found=f"{n_bytes:,} bytes", wanted=f"{artifact.bytes:,} bytes", remedy=remedy
            )
        elif (digest := file_digest(path)) != artifact.sha256:
            yield Finding(
                file=name,
                found=f"sha256 {digest[:_DIGITS]}\u2026",
                wanted=f"sha256 {artifact.sha256[:_DIGITS]}\u2026",
                remedy=remedy,
            )
