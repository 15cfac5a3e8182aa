"""Summaries of the samples and journals of trials, their parts and their run: into the manifest and the part states."""

import heapq
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from overnight.runs.request_speeds import SpeedTally
from overnight.store.files import read_object, write_json
from overnight.store.journal import read_rows
from overnight.store.manifest import Energy, RunManifest, TrialRecord, read_manifest, update_manifest
from overnight.store.run_folder import RunFolder
from overnight.store.telemetry_record import (
    Machine,
    RunTelemetry,
    SignalSummary,
    TrialTelemetry,
)
from overnight.telemetry.sampler import Sampler
from overnight.telemetry.sensors import Sample
from overnight.telemetry.summary import Tally
from overnight.telemetry.table import Window, read_samples

_MIB = 1 << 20
_LEAST_COVERED = 0.95  # of the inference, before power over time counts as the energy of a trial
POWER_SOURCE = "nvml power"


def add_window(folder: RunFolder, slug: str, window: Window) -> None:
    """Note where the samples of a stretch stand; one that follows on the last one is made one with it."""

    def change(manifest: RunManifest) -> RunManifest:
        telemetry = manifest.trials[slug].telemetry or TrialTelemetry()
        windows = list(telemetry.windows)
        begin, end = window
        if windows and windows[-1][1] == begin:
            begin = windows.pop()[0]
        return manifest.with_trial(
            slug, telemetry=telemetry.model_copy(update={"windows": (*windows, (begin, end))})
        )

    if window[1] > window[0]:
        update_manifest(folder, change)


def describe_trial(folder: RunFolder, slug: str, model: str) -> None:
    """Summarise all that is known of a trial so far, and of its parts.

    Raises:
        OSError: something cannot be written.
        StoreError: the manifest, the journal or the state of a part cannot be read.
    """
    speeds, parts = SpeedTally(), _Parts()
    for row in read_rows(folder.trial(slug).journal):
        speeds.add(row)
        parts.speeds(str(row.get("part"))).add(row)
    telemetry = read_manifest(folder).trials[slug].telemetry or TrialTelemetry()
    tally = Tally()
    for sample, is_first in _samples(folder.samples(model), telemetry.windows):
        if is_first:
            tally.break_off()
        tally.add(sample)
        parts.add(sample, is_first=is_first)
    machine = tally.machine(why_none=_why_no_samples(folder, model))

    def change(manifest: RunManifest) -> RunManifest:
        record = manifest.trials[slug]
        known = record.telemetry or TrialTelemetry()
        changes: dict[str, Any] = {"machine": machine, "requests": speeds.speeds()}
        return manifest.with_trial(
            slug,
            telemetry=known.model_copy(update=changes),
            # What the boards used while several models ran is nobody's own.
            energy=record.energy if manifest.blocks[model].beside else _energy(record, machine),
        )

    update_manifest(folder, change)
    for name, record in parts.records().items():
        path = folder.trial(slug).part_state(name)
        if path.is_file():
            write_json(path, {**read_object(path), "telemetry": record})


def describe_run(folder: RunFolder, model: str, sampler: Sampler) -> None:
    """Summarise every sample of a run, after one of its models was held.

    Raises:
        OSError: the manifest cannot be written.
        StoreError: it cannot be read.
    """

    def change(manifest: RunManifest) -> RunManifest:
        # While nobody else changes the manifest: of two models that end together the second sees all of the first.
        machine = _machine_of_run(folder) or sampler.machine()
        before = manifest.telemetry or RunTelemetry()
        ended = {name: why for name, why in before.ended_because.items() if name != model}
        if sampler.ended_because:
            ended[model] = sampler.ended_because
        after = RunTelemetry(
            machine=machine,
            cost=before.cost.plus(sampler.cost()),
            missing={**before.missing, **sampler.missing},
            ended_because=ended,
        )
        return manifest.model_copy(update={"telemetry": after})

    update_manifest(folder, change)


def _machine_of_run(folder: RunFolder) -> Machine | None:
    """Return what all samples of a run come to; None where no table has any.

    Those of models that were held at the same time are taken in the order of time, so that the power of a board
    counts once.
    """
    tally = Tally()
    tables = (read_samples(path) for path in sorted(folder.telemetry.glob("*.csv")))
    for sample in heapq.merge(*tables, key=lambda sample: sample.at):
        tally.add(sample)
    return tally.machine() if tally.samples else None


def _samples(path: Path, windows: tuple[Window, ...]) -> Iterator[tuple[Sample, bool]]:
    """Yield the samples of some stretches, each with whether a stretch begins there."""
    for window in windows:
        is_first = True
        for sample in read_samples(path, window):
            yield sample, is_first
            is_first = False


def _why_no_samples(folder: RunFolder, model: str) -> str:
    if not folder.samples(model).is_file():
        return "nothing was sampled (no model was held here, or execution.telemetry.enabled is false)"
    return "it generated for less time than there is between two samples"


def _energy(record: TrialRecord, machine: Machine) -> Energy | None:
    """Return the energy of a trial: by the counters, else by power over time where that covers the inference."""
    known, inference_s = record.energy, record.timings.inference_s
    if known is None or known.joules is not None or machine.energy_j is None or not inference_s:
        return known
    covered_s = machine.energy_covered_s or 0.0
    if covered_s < _LEAST_COVERED * inference_s:
        why = f"{known.undefined_because}; power was read in {covered_s:.1f} of {inference_s:.1f} s only"
        return known if "power was read" in str(known.undefined_because) else Energy(undefined_because=why)
    return Energy(joules=machine.energy_j, source=POWER_SOURCE)


class _Parts:
    """The requests and the samples of each part: the samples between its first request and its last answer."""

    def __init__(self) -> None:
        self._speeds: dict[str, SpeedTally] = {}
        self._tallies: dict[str, Tally] = {}
        self._bounds: list[tuple[datetime, datetime, str]] | None = None

    def speeds(self, part: str) -> SpeedTally:
        return self._speeds.setdefault(part, SpeedTally())

    def add(self, sample: Sample, *, is_first: bool) -> None:
        """Count a sample in, after all requests are known."""
        if self._bounds is None:
            self._bounds = sorted(
                (speeds.began, speeds.ended, part)
                for part, speeds in self._speeds.items()
                if speeds.began and speeds.ended
            )
        for began, ended, part in self._bounds:
            if began > sample.at:
                break
            if sample.at <= ended:
                tally = self._tallies.setdefault(part, Tally())
                if is_first:
                    tally.break_off()
                tally.add(sample)

    def records(self) -> dict[str, dict[str, Any]]:
        return {
            part: _part_record(speeds, self._tallies.get(part, Tally()))
            for part, speeds in self._speeds.items()
        }


def _part_record(speeds: SpeedTally, tally: Tally) -> dict[str, Any]:
    """Return what a part's state says: six plain numbers, then everything that is known."""
    machine = tally.machine(why_none="no sample fell between its first request and its last answer")
    requests = speeds.speeds()
    latency = requests.latency_s
    memory = machine.signals.get("gpu_memory_used_bytes")
    utilization = machine.signals.get("gpu_utilization_percent")
    return {
        "samples": latency.n if latency else 0,  # requests whose latency was measured
        "avg_latency_ms": _scaled(latency, "mean", 1000),
        "max_latency_ms": _scaled(latency, "max", 1000),
        "p95_latency_ms": _scaled(latency, "p95", 1000),
        "max_gpu_mem_mb": _scaled(memory, "max", 1 / _MIB),
        "max_gpu_utilization": _scaled(utilization, "max", 1),
        "machine": machine.model_dump(mode="json"),
        "requests": requests.model_dump(mode="json"),
    }


def _scaled(summary: SignalSummary | None, name: str, factor: float) -> float | None:
    return None if summary is None else round(getattr(summary, name) * factor, 3)
