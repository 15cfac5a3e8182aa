"""``overnight tune``: what fits is measured, the best of it becomes a preset."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from overnight.cli.console import console
from overnight.cli.fitting import find_model
from overnight.errors import UsageError
from overnight.memory.fits import in_words
from overnight.spec.base import Name
from overnight.spec.config_root import own_presets
from overnight.spec.execution import EngineSettings, Execution
from overnight.spec.model import ModelSpec
from overnight.tuning.race import TRUNCATED_TOO_OFTEN, Outcome, Status
from overnight.tuning.tuning import FIRST_ROUND, Tuning, planned, tune
from overnight.tuning.writing import outcome_row, result_in_words, tuning_record, write_preset

_SECONDS_PER_MINUTE = 60


def tune_command(
    name: str,
    *,
    minutes: float,
    preset_name: str | None,
    max_new_tokens: int,
    memory_limit_gib: float | None,
    is_dry: bool,
    as_json: bool,
) -> None:
    """Measure, print a table and write a preset; or, dry, print what would be measured.

    Args:
        name: of a model in ``config/models``, or the path of its weights.
        minutes: that measuring may take.
        preset_name: None makes one from the model's.
        max_new_tokens: the longest answer that is asked for.
        memory_limit_gib: that the model's process may take for itself; None is what there is.
        is_dry: load and write nothing.
        as_json: print JSON.

    Raises:
        UsageError: the model cannot be found or tuned, or the preset cannot be written.
        EngineError: the weights cannot be had.
    """
    model = find_model(name).model_copy(update={"ladder": ()})  # it is this model that is tuned
    preset = own_presets() / f"{_preset_name(preset_name, model)}.yaml"
    execution = Execution(engine=EngineSettings(memory_limit_gib=memory_limit_gib))
    asked, outcomes = planned(model, execution, max_new_tokens)
    out = console()
    if is_dry:
        _show_plan(out, asked.model, outcomes, preset, as_json=as_json)
        return

    def told(outcome: Outcome) -> None:
        if not as_json:
            out.print(
                f"{outcome.candidate.label}: {result_in_words(outcome)}", highlight=False, soft_wrap=True
            )

    tuning = tune(asked, outcomes, execution, seconds=minutes * _SECONDS_PER_MINUTE, on_outcome=told)
    if tuning.chosen is not None:
        by_name = None if Path(name).expanduser().exists() else model.name
        write_preset(tuning, preset, model=by_name, memory_limit_gib=memory_limit_gib)
    if as_json:
        record = tuning_record(tuning, preset if tuning.chosen else None)
        print(json.dumps(record, indent=2, allow_nan=False))  # noqa: T201 - the terminal is our output
    else:
        _show(out, tuning, preset, max_new_tokens)
    if tuning.chosen is None:
        raise UsageError(f"{model.name}: {why_none(tuning)}, so no preset is written")


def why_none(tuning: Tuning) -> str:
    """Return why nothing was chosen, and what to do where more time would help."""
    n_measured = sum(one.speed is not None for one in tuning.outcomes)
    n_left = sum(one.status is Status.NOT_REACHED for one in tuning.outcomes)
    if not n_left:
        return "no setting was measured that may be chosen; the table says why"
    if not n_measured:
        return "no setting could be measured in the time; give more with --minutes"
    # The first of them took all of it, and each takes about as long; more than half of the time is the first round's.
    minutes = math.ceil(
        tuning.seconds * (n_measured + n_left) / n_measured / FIRST_ROUND / _SECONDS_PER_MINUTE
    )
    return (
        f"only {n_measured} of {n_measured + n_left} settings could be measured in the time, and there is nothing to "
        f"compare it with; give more, about --minutes {minutes} on a machine as busy as now"
    )


def _preset_name(given: str | None, model: ModelSpec) -> str:
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415

    name = given or f"tuned-{model.name}"[:80]
    try:
        return TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise UsageError(
            f"--preset-name {name}: wanted letters, digits, dots, dashes and underscores, at most 80"
        ) from None


def _show_plan(
    out: Console, model: ModelSpec, outcomes: Sequence[Outcome], preset: Path, *, as_json: bool
) -> None:
    if as_json:
        record = {
            "model": model.name,
            "engine": model.engine.value,
            "candidates": [outcome_row(one) for one in outcomes],
            "preset": str(preset),
        }
        print(json.dumps(record, indent=2, allow_nan=False))  # noqa: T201 - the terminal is our output
        return
    table = Table(box=None, pad_edge=False)
    for title in ("setting", "needs", "would be"):
        table.add_column(title, justify="right" if title == "needs" else "left", overflow="fold")
    for one in outcomes:
        needs = "unknown" if one.needed_bytes is None else in_words(one.needed_bytes)
        table.add_row(one.candidate.label, needs, f"{one.status.value}: {one.why}" if one.why else "measured")
    out.print(table, highlight=False)
    out.print(f"the best would be written to {preset}", highlight=False, soft_wrap=True)


def _show(out: Console, tuning: Tuning, preset: Path, max_new_tokens: int) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("", "setting", "answers/min", "95 % interval", "answers", "cut off, %", "peak", "load, s"):
        table.add_column(title, justify="left" if title in ("", "setting") else "right")
    for one in tuning.outcomes:
        mark = "*" if one is tuning.chosen else ""
        if one.speed is None:
            table.add_row(mark, one.candidate.label, one.status.value)
            continue
        bounds = one.speed.interval
        table.add_row(
            mark,
            one.candidate.label,
            f"{one.speed.per_minute:,.1f}",
            f"{bounds[0]:,.1f} to {bounds[1]:,.1f}" if bounds else "n/a",
            f"{one.speed.n_answers:,}",
            f"{100 * (one.truncated_share or 0):.1f}",
            "n/a" if one.peak_bytes is None else in_words(one.peak_bytes),
            "n/a" if one.load_s is None else f"{one.load_s:.1f}",
        )
    out.print(table, highlight=False)
    for line in _remarks(tuning, preset, max_new_tokens):
        out.print(line, highlight=False, soft_wrap=True)


def _remarks(tuning: Tuning, preset: Path, max_new_tokens: int) -> list[str]:
    lines = [f"{one.candidate.label}: {one.status.value}: {one.why}" for one in tuning.outcomes if one.why]
    lines += [
        f"{one.candidate.label}: measured and not chosen: {one.candidate.gives_up}"
        for one in tuning.outcomes
        if one.candidate.gives_up and one.speed is not None
    ]
    chosen = tuning.chosen
    if chosen is None:
        return lines
    if (chosen.truncated_share or 0) > TRUNCATED_TOO_OFTEN:
        lines.append(
            f"{100 * (chosen.truncated_share or 0):.0f} % of the answers were cut off at {max_new_tokens} tokens; "
            "longer ones take longer: give --max-new-tokens as your sweep has it"
        )
    return [
        *lines,
        f"chosen: {chosen.candidate.label}",
        f"preset   {preset}; take it by `--preset {preset.stem}`",
    ]
