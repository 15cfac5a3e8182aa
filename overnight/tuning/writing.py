"""What was tuned, written down: a preset with its measurements as comments, and rows for the table and for JSON."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from overnight.errors import UsageError
from overnight.memory.fits import in_words
from overnight.spec.overrides import Overrides
from overnight.spec.preset import Preset
from overnight.spec.reading import validate
from overnight.store.files import write_text
from overnight.tuning.race import Outcome, Status
from overnight.tuning.tuning import Tuning


def write_preset(
    tuning: Tuning, path: Path, *, model: str | None, memory_limit_gib: float | None = None
) -> None:
    """Write the chosen settings as a preset, with what was measured, on which machine and when; replace an older one.

    Args:
        tuning: what was measured.
        path: of the preset; its stem is its name.
        model: the model's name where it can be found by that; None leaves the model to the sweep.
        memory_limit_gib: that it was measured under; None is none.

    Raises:
        UsageError: nothing was measured that could be chosen, or the file cannot be written.
    """
    chosen = tuning.chosen
    if chosen is None:
        raise UsageError(
            f"{tuning.model.name}: no setting was measured that may be chosen; no preset is written"
        )
    value = Overrides({"name": path.stem, "description": f"measured for {tuning.model.name}"})
    for key, setting in chosen.candidate.settings.items():
        value.set(f"execution.{key}", setting, "tune")
    if memory_limit_gib is not None:
        value.set("execution.engine.memory_limit_gib", memory_limit_gib, "tune")
    if model is not None:
        value.set("experiment.defaults.model", model, "tune")
    validate(Preset, value.value, path)
    comments = "".join(f"# {line}\n" for line in _lines(tuning))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, comments + yaml.safe_dump(value.value, sort_keys=False, allow_unicode=False))
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror}); set OVERNIGHT_CONFIG_DIR") from None


def outcome_row(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome for a JSON file; bytes, seconds, answers a minute."""
    speed, peak = outcome.speed, outcome.peak
    return {
        "settings": dict(outcome.candidate.settings),
        "context_tokens": outcome.candidate.context_tokens,
        "status": outcome.status.value,
        "why": outcome.why,
        "gives_up": outcome.candidate.gives_up,
        "needed_bytes": outcome.needed_bytes,
        "answers_per_minute": None if speed is None else round(speed.per_minute, 3),
        "interval_95": None
        if speed is None or speed.interval is None
        else [round(bound, 3) for bound in speed.interval],
        "n_answers": None if speed is None else speed.n_answers,
        "truncated_share": outcome.truncated_share,
        "peak_host_bytes": peak and peak.host_bytes,
        "peak_own_bytes": peak and peak.host_anonymous_bytes,
        "peak_device_bytes": peak and peak.device_bytes,
        "load_s": outcome.load_s,
    }


def tuning_record(tuning: Tuning, preset: Path | None) -> dict[str, Any]:
    """Return all of it for a JSON file."""
    return {
        "model": tuning.model.name,
        "model_digest": tuning.model.weights_identity,
        "engine": tuning.model.engine.value,
        "machine": tuning.machine,
        "at": tuning.at.isoformat(timespec="seconds"),
        "seconds": round(tuning.seconds, 3),
        "candidates": [outcome_row(one) for one in tuning.outcomes],
        "chosen": None if tuning.chosen is None else dict(tuning.chosen.candidate.settings),
        "preset": None if preset is None else str(preset),
    }


def result_in_words(outcome: Outcome) -> str:
    """Return what became of a candidate, in one line."""
    speed = outcome.speed
    if speed is None:
        return f"{outcome.status.value}: {outcome.why}" if outcome.why else outcome.status.value
    bounds = speed.interval
    interval = (
        f" ({bounds[0]:,.1f} to {bounds[1]:,.1f})" if bounds else " (too few stretches for an interval)"
    )
    held = "" if outcome.peak_bytes is None else f", {in_words(outcome.peak_bytes)} at most"
    again = f"; then {outcome.status.value}: {outcome.why}" if outcome.status is not Status.MEASURED else ""
    return f"{speed.per_minute:,.1f} answers/min{interval} over {speed.n_answers}{held}{again}"


def _lines(tuning: Tuning) -> Iterator[str]:
    machine = tuning.machine
    gpus = ", ".join(machine.get("gpus") or ()) or "no GPU"
    yield (
        f"Measured by `overnight tune` on {tuning.at:%Y-%m-%d %H:%M} UTC with {tuning.model.name} "
        f"({tuning.model.engine.value}),"
    )
    yield f"on {machine.get('cpu')}, {machine.get('cores')} cores, {gpus}, in {tuning.seconds:,.0f} s:"
    chosen = tuning.chosen
    for one in tuning.outcomes:
        mark = "*" if one is chosen else " "
        note = f" [not chosen: {one.candidate.gives_up}]" if one.candidate.gives_up else ""
        yield f"{mark} {one.candidate.label}: {result_in_words(one)}{note}"
