"""In which settings several runs differ, as dotted keys."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from overnight.errors import StoreError
from overnight.report.paired import Setting
from overnight.runs.trial_choice import ChosenTrial
from overnight.spec.reading import read_mapping
from overnight.store.run_folder import RunFolder

_VALUE_CHARS = 120
_MISSING = "not set"


def run_settings(folders: Sequence[RunFolder]) -> tuple[Setting, ...]:
    """Return the keys of ``effective_config.yaml`` whose values are not the same in all runs.

    Raises:
        StoreError: a configuration is missing.
        UsageError: it is not YAML.
    """
    for folder in folders:
        if not folder.effective_config.is_file():
            raise StoreError(f"{folder.effective_config}: no such file; restore it")
    return _differences(
        [read_mapping(folder.effective_config, "a configuration", expand=False) for folder in folders], ""
    )


def trial_settings(group: Sequence[ChosenTrial], name: str) -> tuple[Setting, ...]:
    """Return what differs between the trials of a group in what was asked for and in what answered."""
    prefix = f"{name}: " if name else ""
    return (
        *_differences([trial.record.requested for trial in group], f"{prefix}trial."),
        *_differences([trial.record.effective or {} for trial in group], f"{prefix}effective."),
    )


def _differences(values: Sequence[Mapping[str, Any]], prefix: str) -> tuple[Setting, ...]:
    flat = [dict(_flat(value)) for value in values]
    keys = dict.fromkeys(key for one in flat for key in one)
    return tuple(
        Setting(key=f"{prefix}{key}", values=tuple(one.get(key, _MISSING) for one in flat))
        for key in keys
        if len({one.get(key, _MISSING) for one in flat}) > 1
    )


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted keys with their values as text; a list of mappings is numbered, one of scalars is whole."""
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from _flat(part, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
        for index, part in enumerate(value):
            yield from _flat(part, f"{key}[{index}]")
    else:
        yield key, _text(value)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _VALUE_CHARS else f"{text[:_VALUE_CHARS]}\u2026 ({len(text):,} characters)"
