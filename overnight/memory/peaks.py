"""Peaks: what models were measured to hold on this machine, kept to correct later estimates.

One small file a measurement, renamed into place, as for rates. The oldest are removed.
"""

import secrets
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from overnight.errors import StoreError
from overnight.memory.estimate import MemoryEstimate, MemoryPart, Place
from overnight.memory.processes import MeasuredPeak
from overnight.store.content_store import cache_folder
from overnight.store.files import read_json, write_json

SAVED = "saved prompts"  # grows with what is asked, up to its limit: no fact of the model
CORRECTION = "as measured here"
_SCHEMA_VERSION = 1
_KEPT_PER_MODEL = 100
_NEAREST = 5
_FARTHEST = 4.0  # times as large; what was measured of a much smaller setting says little
_SINGLE_SPREAD = 0.05  # each way, of one measurement alone
_HOW_HELD = ("dtype", "bits")  # of transformers, which holds one file in several ways


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """One measured peak beside what was estimated for the same settings; bytes, by place, without saved prompts."""

    at: str
    settings: Mapping[str, Any]
    measured: Mapping[Place, int]
    estimated: Mapping[Place, int]


def note_peak(
    estimate: MemoryEstimate,
    peak: MeasuredPeak,
    *,
    model: str,
    model_digest: str,
    machine: Mapping[str, Any],
) -> Path | None:
    """Keep a measured peak; return the file, or None where there is nothing to compare it with.

    Args:
        estimate: of the same settings, as computed (not corrected), with the tokens that were really asked as
            ``saved_tokens`` where the engine saves prompts.
        peak: of the process that held the model, from before it loaded to its last answer.
        model: its name, for people.
        model_digest: of its weights.
        machine: `overnight.telemetry.environment.machine_identity`.

    Raises:
        OSError: the cache cannot be written to.
    """
    if estimate.undefined_because or peak.host_bytes is None:
        return None
    now = datetime.now(UTC)
    folder = _folder(model_digest)
    path = folder / f"{now:%Y%m%dT%H%M%S.%f}-{secrets.token_hex(4)}.json"
    write_json(
        path,
        {
            "schema_version": _SCHEMA_VERSION,
            "at": now.isoformat(timespec="seconds"),
            "model": model,
            "model_digest": model_digest,
            "engine": estimate.engine,
            "machine": dict(machine),
            "measured": asdict(peak),
            "estimate": estimate.as_row(),
        },
    )
    for old in sorted(folder.glob("*.json"))[:-_KEPT_PER_MODEL]:
        old.unlink(missing_ok=True)
    return path


def read_peaks(model_digest: str | None, engine: str, machine: Mapping[str, Any]) -> list[Peak]:
    """Return the peaks of a model with an engine on a machine, oldest first; files that are not ours are passed over.

    Args:
        model_digest: of the weights; None has no peaks.
        engine: what held the model.
        machine: that it was measured on.
    """
    if model_digest is None:
        return []
    found = []
    for path in sorted(_folder(model_digest).glob("*.json")):
        try:
            value = read_json(path)
            same = (_SCHEMA_VERSION, model_digest, engine, dict(machine))
            if tuple(value[name] for name in ("schema_version", "model_digest", "engine", "machine")) == same:
                found.append(_peak(value))
        except (StoreError, KeyError, TypeError, ValueError):
            continue  # written by another version, or damaged: an estimate the less sure
    return found


def corrected(estimate: MemoryEstimate, peaks: Sequence[Peak]) -> MemoryEstimate:
    """Return an estimate, scaled by what was measured to be right for settings like these.

    For each place it is the estimate times the median of measured / estimated over the five measurements whose
    estimates are nearest in size, of weights held in the same way; the interval goes from the smallest to the largest
    of these ratios, and 5 % each way where there is only one. Measurements of settings four times as large or small
    are not looked at.

    Args:
        estimate: as computed.
        peaks: of the same model, engine and machine.
    """
    if estimate.undefined_because:
        return estimate
    alike = [
        peak
        for peak in peaks
        if all(peak.settings.get(name) == estimate.settings.get(name) for name in _HOW_HELD)
    ]
    parts = list(estimate.parts)
    low = high = estimate.total or 0
    is_measured = False
    for place in Place:
        size = _without_saved(estimate, place)
        ratios = _ratios(size, place, alike)
        if not ratios:
            continue
        is_measured = True
        middle = statistics.median(ratios)
        least, most = min(ratios), max(ratios)
        if len(ratios) == 1:
            least, most = middle * (1 - _SINGLE_SPREAD), middle * (1 + _SINGLE_SPREAD)
        difference = round(size * (middle - 1))
        if difference:
            parts.append(MemoryPart(name=CORRECTION, n_bytes=difference, place=place))
        low += round(size * (least - 1))
        high += round(size * (most - 1))
    if not is_measured:
        return estimate
    return replace(estimate, parts=tuple(parts), is_measured=True, interval=(low, high))


def _ratios(size: int, place: Place, peaks: Sequence[Peak]) -> list[float]:
    if not size:
        return []
    there = [peak for peak in peaks if peak.measured.get(place) and peak.estimated.get(place)]
    near = [peak for peak in there if size / _FARTHEST <= peak.estimated[place] <= size * _FARTHEST]
    near.sort(key=lambda peak: max(peak.estimated[place] / size, size / peak.estimated[place]))
    return [peak.measured[place] / peak.estimated[place] for peak in near[:_NEAREST]]


def _without_saved(estimate: MemoryEstimate, place: Place) -> int:
    return sum(part.n_bytes for part in estimate.parts if part.place is place and part.name != SAVED)


def _peak(value: Mapping[str, Any]) -> Peak:
    """Return the peak that a file holds.

    Raises:
        KeyError, TypeError, ValueError: it does not hold one.
    """
    parts = value["estimate"]["parts"]
    measured = {Place.HOST: value["measured"]["host_bytes"], Place.DEVICE: value["measured"]["device_bytes"]}
    saved = sum(part["bytes"] for part in parts if part["name"] == SAVED)
    if measured[Place.HOST] is not None:
        measured[Place.HOST] -= saved
    estimated = {
        place: sum(part["bytes"] for part in parts if part["place"] == place.value and part["name"] != SAVED)
        for place in Place
    }
    return Peak(
        at=str(value["at"]),
        settings=dict(value["estimate"]["settings"]),
        measured={place: int(n) for place, n in measured.items() if n is not None and n > 0},
        estimated=estimated,
    )


def _folder(model_digest: str) -> Path:
    return cache_folder() / "peaks" / model_digest[:16]
