"""The manifest as text, made anew only where it changed: a run of a thousand trials writes it thousands of times."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from overnight.spec.base import Spec

_STEP = "  "


def text_of(value: Mapping[str, Any], trials: Iterable[str]) -> str:
    """Return the text of a manifest, as ``json.dumps`` with an indent of 2 gives it.

    Args:
        value: all of it; whatever it has under ``trials`` is left out.
        trials: the text of each record, as `trial_text` gives it.
    """
    lines = ",\n".join(f"{2 * _STEP}{text}" for text in trials)
    members = [
        f"{_STEP}{_text(key)}: "
        + ((f"{{\n{lines}\n{_STEP}}}" if lines else "{}") if key == "trials" else _indented(each, 1))
        for key, each in value.items()
    ]
    return "{\n" + ",\n".join(members) + "\n}\n"


def trial_text(slug: str, record: Spec) -> str:
    """Return the text of one trial: its slug, and its record as far in as it stands in a manifest; strict JSON."""
    return f"{_text(slug)}: {_indented(record.model_dump(mode='json'), 2)}"


def _indented(value: Any, depth: int) -> str:
    # No text in JSON has a line break of its own.
    return _text(value, indent=len(_STEP)).replace("\n", "\n" + depth * _STEP)


def _text(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
