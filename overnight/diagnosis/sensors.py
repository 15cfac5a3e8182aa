"""Sensor summaries of a trial: from the manifest, or else from the run's telemetry tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from overnight.diagnosis.evidence import Signal
from overnight.report.telemetry import read_telemetry

NAMES = (
    "gpu_utilization_percent",
    "gpu_memory_used_bytes",
    "gpu_process_memory_bytes",
    "gpu_temperature_c",
    "gpu_power_w",
    "gpu_sm_clock_mhz",
    "gpu_memory_clock_mhz",
    "cpu_percent",
    "ram_used_bytes",
    "ram_available_bytes",
    "host_rss_bytes",
)


def trial_signals(telemetry: Mapping[str, Any] | None, folder: Path, slug: str) -> dict[str, Signal]:
    """Return the summaries of a trial's sensors; a sensor that was not there is left out.

    Args:
        telemetry: what the manifest says of the trial; None where it says nothing.
        folder: of the tables ``<slug>*.csv``, which are read where the manifest says nothing.
        slug: of the trial.
    """
    if telemetry is not None:
        found = telemetry.get("signals") or telemetry
        return {name: _signal(found[name]) for name in NAMES if found.get(name)}
    return {
        series.name: Signal(low=series.low, mean=series.mean, high=series.high)
        for series in read_telemetry(folder)
        if series.name in NAMES and series.file.startswith(slug)
    }


def trial_throttle(telemetry: Mapping[str, Any] | None) -> dict[str, float] | None:
    """Return the share of samples in which the GPU held its clocks down, by reason; None where nobody looked."""
    throttle = (telemetry or {}).get("throttle")
    return None if throttle is None else {str(reason): float(share) for reason, share in throttle.items()}


def _signal(summary: Mapping[str, Any]) -> Signal:
    return Signal(low=float(summary["min"]), mean=float(summary["mean"]), high=float(summary["max"]))
