"""Rates: what each stretch of generation took on this machine, kept for later plans.

One small file a stretch, renamed into place: writers share nothing, on any file system. The oldest are removed.
"""

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from overnight.errors import StoreError
from overnight.planning.estimate import Measurement
from overnight.store.content_store import cache_folder
from overnight.store.files import read_json, write_json

_SCHEMA_VERSION = 1
_KEPT_PER_MODEL = 200
_READ_PER_MODEL = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """One measured stretch, and under what it was measured."""

    at: str
    model: str
    model_digest: str
    engine: str
    machine: Mapping[str, Any]
    settings: Mapping[str, Any]
    measurement: Measurement

    def has_settings(self, settings: Mapping[str, Any]) -> bool:
        """True where nothing differs that changes the speed."""
        return compared(self.settings) == compared(settings)


def compared(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that change how fast a model answers; the context does so too little to matter."""
    return {name: value for name, value in settings.items() if name != "context_tokens"}


def store_rate(
    measurement: Measurement,
    *,
    model: str,
    model_digest: str,
    engine: str,
    machine: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Path:
    """Keep what a stretch took; return the file.

    Raises:
        OSError: the cache cannot be written to.
    """
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
            "engine": engine,
            "machine": dict(machine),
            "settings": dict(settings),
            "measurement": asdict(measurement),
        },
    )
    for old in sorted(folder.glob("*.json"))[:-_KEPT_PER_MODEL]:
        old.unlink(missing_ok=True)
    return path


def read_rates(model_digest: str | None, engine: str, machine: Mapping[str, Any] | None = None) -> list[Rate]:
    """Return the newest stretches of a model with an engine, oldest first; files that are not ours are passed over.

    Args:
        model_digest: of the weights; None has no stretches.
        engine: what held the model.
        machine: only of this machine; None for all of them.
    """
    if model_digest is None:
        return []
    found = []
    for path in sorted(_folder(model_digest).glob("*.json"), reverse=True):
        rate = _read(path)
        if rate is None or rate.model_digest != model_digest or rate.engine != engine:
            continue
        if machine is None or dict(rate.machine) == dict(machine):
            found.append(rate)
        if len(found) == _READ_PER_MODEL:
            break
    return found[::-1]


def _folder(model_digest: str) -> Path:
    return cache_folder() / "rates" / model_digest[:16]


def _read(path: Path) -> Rate | None:
    try:
        value = read_json(path)
        if value["schema_version"] != _SCHEMA_VERSION:
            return None
        measured = value["measurement"]
        numbers = {field.name: measured[field.name] for field in fields(Measurement)}
        if not all(_is_number(number) for name, number in numbers.items() if name != "load_s"):
            return None
        named = {
            name: value[name] for name in ("at", "model", "model_digest", "engine", "machine", "settings")
        }
        return Rate(**named, measurement=Measurement(**numbers))
    except (StoreError, KeyError, TypeError):
        return None  # written by another version, or damaged: an estimate the fewer


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
