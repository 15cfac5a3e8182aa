"""The manifest: what a run is, how far it came, and what its files must be."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import ValidationError

from overnight.errors import StoreError
from overnight.file_names import FolderName, RelativePath
from overnight.ids import file_digest
from overnight.spec.base import Spec
from overnight.store.files import read_json, write_text
from overnight.store.manifest_text import text_of, trial_text
from overnight.store.run_folder import RunFolder
from overnight.store.telemetry_record import RunTelemetry, TrialTelemetry

SCHEMA_VERSION = 1


class TrialState(StrEnum):
    """How far a trial came."""

    PLANNED = "planned"
    RUNNING = "running"
    PARTIAL = "partial"  # the steps that were asked for are done, later ones were not asked for
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


class Artifact(Spec):
    """A file as it was when it was finished."""

    sha256: str
    bytes: int
    rows: int | None = None


class TrialCounts(Spec):
    """Draws of a trial, over all its stretches."""

    expected: int = 0
    done: int = 0
    errors: int = 0
    truncated: int = 0
    cache_hits: int = 0  # of those done: answered before, by another trial or run, and not sent again
    sent: int = 0  # requests that the engine was asked, those that failed included
    generated_tokens: int | None = (
        None  # completion tokens of what was sent; None where the engine counts none
    )


class Timings(Spec):
    """When a trial ran and how long its stages took."""

    started: datetime | None = None
    ended: datetime | None = None
    inference_s: float | None = None  # summed over resumed stretches


class Energy(Spec):
    """What the GPUs used while a trial generated: whole devices, whoever used them."""

    joules: float | None = None  # summed over resumed stretches
    undefined_because: str | None = None
    source: str | None = None  # None: the devices' energy counters; else what stood in for them

    def plus(self, other: "Energy | None") -> "Energy":
        """Return the sum of two stretches; unknown where one of them is."""
        if other is None or self.joules is None:
            return self
        if other.joules is None:
            return other
        return Energy(joules=round(self.joules + other.joules, 3), source=self.source or other.source)


class EstimateRecord(Spec):
    """What a run was predicted to take when it was made, and what it took."""

    predicted_s: float | None = None  # loads and inference
    low_s: float | None = None
    high_s: float | None = None
    measured_s: float | None = None
    predicted_bytes: int | None = None  # an upper bound
    measured_bytes: int | None = None  # before the reports
    n_requests: int = 0  # predicted
    n_done: int | None = None  # answered when it was measured
    undefined_because: str | None = None


class TrialRecord(Spec):
    """What the manifest says of one trial."""

    state: TrialState = TrialState.PLANNED
    fingerprint: str
    requested: dict[str, Any]
    effective: dict[str, Any] | None = None
    rung_history: tuple[dict[str, Any], ...] = ()
    counts: TrialCounts = TrialCounts()
    timings: Timings = Timings()
    energy: Energy | None = None
    telemetry: TrialTelemetry | None = None
    artifacts: dict[RelativePath, Artifact] = {}
    error: str | None = None


class PeakMemory(Spec):
    """The most that the process of a model held, in bytes; null where the system does not tell."""

    held_as: str  # the rung
    host_bytes: int | None = None  # resident: mapped weights count, as pages of their file
    own_bytes: int | None = None  # of these, the process's own
    device_bytes: int | None = None  # of all GPUs

    def joined(self, other: "PeakMemory | None") -> "PeakMemory":
        """Return the most of two stretches on the same rung; of different rungs this one's."""
        if other is None or other.held_as != self.held_as:
            return self
        names = ("host_bytes", "own_bytes", "device_bytes")
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in names}
        most = {name: max((n for n in pair if n is not None), default=None) for name, pair in pairs.items()}
        return self.model_copy(update=most)


class BlockRecord(Spec):
    """What the manifest says of one model block."""

    model: str
    digest: str
    loads: int = 0
    restarts: int = 0
    load_s: float | None = None
    held_from: datetime | None = None  # in the last stretch: from before it was loaded
    held_to: datetime | None = None  # until its memory was back
    beside: tuple[str, ...] = ()  # models of this run that were held at the same time
    held: dict[str, Any] | None = None  # the rung that the block is on, where that is not the one asked for
    rung_history: tuple[dict[str, Any], ...] = ()
    peak_memory: PeakMemory | None = None  # null: no process of ours held it
    placement: dict[str, Any] | None = None  # on which GPUs, and how much of it; null: not known


class RunManifest(Spec):
    """``manifest.json``."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    kind: str
    name: str
    fingerprint: str
    state: TrialState = TrialState.PLANNED
    created: datetime
    updated: datetime
    execution: dict[str, Any]
    environment: dict[str, Any]
    items: dict[RelativePath, Artifact] = {}
    blocks: dict[FolderName, BlockRecord] = {}
    trials: dict[FolderName, TrialRecord] = {}
    artifacts: dict[RelativePath, Artifact] = {}
    estimate: EstimateRecord | None = None
    telemetry: RunTelemetry | None = None
    error: str | None = None

    def with_trial(self, slug: str, **changes: Any) -> "RunManifest":
        """Return the manifest with some fields of one trial changed."""
        record = self.trials[slug].model_copy(update=changes)
        return self.model_copy(update={"trials": {**self.trials, slug: record}})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A manifest that this process wrote or read last, so that neither is done anew for what did not change."""

    data: bytes  # of the file; where it has others by now, somebody else wrote it
    manifest: RunManifest  # as it is read from them
    texts: dict[str, tuple[TrialRecord, str]]  # of each trial: its record, and both as text


# Of the runs that this process writes to. With a thousand trials, reading and checking a manifest takes 30 ms, writing
# all of it 100 ms, and each trial does both several times.
_KNOWN: dict[Path, _Known] = {}
_MOST_KNOWN = 2


def read_manifest(folder: RunFolder) -> RunManifest:
    """Return a run's manifest.

    Raises:
        StoreError: it is missing, not JSON, of a later schema, or lacks something.
    """
    known = _KNOWN.get(folder.manifest)
    if known is None:
        return _checked(folder, read_json(folder.manifest))
    try:
        data = folder.manifest.read_bytes()
    except OSError:
        return _checked(folder, read_json(folder.manifest))  # which says what is wrong
    if data != known.data:
        known = _Known(data=data, manifest=_checked(folder, read_json(folder.manifest)), texts={})
        _keep(folder, known)
    return known.manifest


def _checked(folder: RunFolder, value: Any) -> RunManifest:
    found = value.get("schema_version") if isinstance(value, dict) else None
    if found != SCHEMA_VERSION:
        raise StoreError(f"{folder.manifest}: schema_version {found!r}, this version reads {SCHEMA_VERSION}")
    try:
        return RunManifest.model_validate(value)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        *key, last = (str(part) for part in problem["loc"])
        if last == "[key]":
            raise StoreError(
                f"{folder.manifest}: {'.'.join(key[:-1])}: {key[-1]!a} is no name of a file in the folder of the "
                "run; restore the file"
            ) from None
        raise StoreError(f"{folder.manifest}: {'.'.join([*key, last])}: {problem['msg']}") from None


def write_manifest(folder: RunFolder, manifest: RunManifest) -> None:
    """Replace a run's manifest."""
    known = _KNOWN.get(folder.manifest)
    before = known.texts if known else {}
    texts: dict[str, tuple[TrialRecord, str]] = {}
    for slug, record in manifest.trials.items():
        kept = before.get(slug)
        if kept is None or kept[0] is not record:
            text = trial_text(slug, record)
            as_written = json.loads(f"{{{text}}}")[slug]
            kept = TrialRecord.model_validate(as_written), text  # as it is read from now on
        texts[slug] = kept
    value = manifest.model_copy(update={"trials": {}}).model_dump(mode="json")
    text = text_of(value, (text for _, text in texts.values()))
    write_text(folder.manifest, text)
    trials = {slug: record for slug, (record, _) in texts.items()}
    as_read = RunManifest.model_validate(json.loads(json.dumps(value))).model_copy(update={"trials": trials})
    _keep(folder, _Known(data=text.encode("utf-8", "backslashreplace"), manifest=as_read, texts=texts))


def _keep(folder: RunFolder, known: _Known) -> None:
    _KNOWN[folder.manifest] = known
    while len(_KNOWN) > _MOST_KNOWN:
        _KNOWN.pop(next(iter(_KNOWN)), None)


def update_manifest(folder: RunFolder, change: Callable[[RunManifest], RunManifest]) -> RunManifest:
    """Read, change and replace the manifest while nobody else does; return the new one."""
    with FileLock(folder.path / ".manifest.lock"):
        manifest = change(read_manifest(folder)).model_copy(update={"updated": datetime.now(UTC)})
        write_manifest(folder, manifest)
    return manifest


def seal(root: Path, path: Path, rows: int | None = None) -> tuple[str, Artifact]:
    """Return a finished file's name below ``root`` and its digest."""
    artifact = Artifact(sha256=file_digest(path), bytes=path.stat().st_size, rows=rows)
    return path.relative_to(root).as_posix(), artifact


def broken_seals(root: Path, artifacts: dict[str, Artifact]) -> list[str]:
    """Return the names of the artifacts that are missing or have changed."""
    return [
        name
        for name, artifact in artifacts.items()
        if not (root / name).is_file()
        or (root / name).stat().st_size != artifact.bytes
        or file_digest(root / name) != artifact.sha256
    ]
