"""Showing a plan; nothing is loaded and nothing is written but the cache of frozen items."""

import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from overnight.cli.console import console
from overnight.cli.sweep_options import LoadedSweep
from overnight.datasets.freezing import load_items, prepare_items
from overnight.engines.placement import NO_GPU
from overnight.memory.fits import in_words
from overnight.memory.fitting import ModelFit, fit_blocks, predicted_memory
from overnight.memory.free import free_devices
from overnight.memory.sharing import Wave, waves_of
from overnight.memory.widths import widths_of_models
from overnight.planning.auroc_foresight import (
    ASSUMED_AUROC,
    ASSUMED_CORRELATION,
    CONFIDENCE,
    POWER,
    ExpectedAuroc,
    expected_aurocs,
)
from overnight.planning.estimate import Estimate
from overnight.planning.plan import Plan, make_plan, plan_record
from overnight.planning.prompt_trials import PromptTrial
from overnight.runs.opening import dataset_names, load_shots
from overnight.runs.predicting import Prediction, predict_run
from overnight.spec.sweep import SweepSpec

_SECONDS_PER_MINUTE = 60


def plan_of(spec: SweepSpec) -> Plan:
    """Return the plan of a resolved sweep."""
    path = prepare_items(spec.experiment).path
    names = dataset_names(spec)
    items = load_items([path / f"{name}.jsonl" for name in names])
    return make_plan(spec, items, load_shots(path, names), widths_of_models(spec))


def show_plan(spec: SweepSpec, *, as_json: bool) -> None:
    """Print the plan of a sweep, and what it will take where this machine has measured its models."""
    plan = plan_of(spec)
    prediction = predict_run(plan, spec.execution)
    memory = fit_blocks(plan, spec.execution)
    waves = waves_of(plan.blocks, spec.execution)
    if as_json:
        rows = [wave.as_row() for wave in waves]
        record = plan_record(plan, prediction.as_row(), predicted_memory(memory), rows)
        print(json.dumps(record, indent=2))  # noqa: T201 - the terminal is our output
    else:
        print_plan(console(), plan, prediction, memory, waves)


def show_valid(sweep: LoadedSweep) -> None:
    """Say that a sweep is valid, and what it comes to."""
    plan = plan_of(sweep.spec)
    print(  # noqa: T201
        f"valid: {len(plan.trials)} trials, {len(plan.items)} items, {plan.n_requests} requests, "
        f"{len(plan.blocks)} models"
    )


def print_plan(
    out: Console,
    plan: Plan,
    prediction: Prediction | None = None,
    memory: Sequence[ModelFit] = (),
    waves: Sequence[Wave] = (),
) -> None:
    """Print trials, requests, tokens, minutes, disk and the smallest difference that so many items can show."""
    table = Table(box=None, pad_edge=False)
    numbers = ("requests", "tokens", "minutes", "MB")
    for title in ("trial", "model", _asked(plan), "temperatures", "top_p", "top_k", "max tokens", *numbers):
        table.add_column(title, no_wrap=True, justify="right" if title in numbers else "left")
    for trial in plan.trials:
        limits = trial.max_new_tokens
        part = prediction.trials[trial.slug] if prediction else Estimate()
        table.add_row(
            trial.fingerprint[:8],
            trial.model.name,
            trial.label,
            ", ".join(map(repr, trial.temps)),
            repr(trial.top_p),
            str(trial.top_k),
            f"{limits.closed}/{limits.open}",
            str(plan.requests_per_trial[trial.slug]),
            _tokens(part) or "unknown",
            _minutes(part) or "unknown",
            f"{plan.bytes_per_trial[trial.slug] / 1e6:.1f}",
        )
    out.print(table)
    for line in (
        f"{len(plan.items)} items, {plan.n_requests} requests, {len(plan.blocks)} model loads, "
        f"up to {plan.bytes_on_disk / 1e6:.1f} MB on disk",
        *(_prediction_lines(prediction) if prediction else ()),
        *map(_memory_line, memory),
        *([NO_GPU] if _needs_processor(plan) else []),
        *_wave_lines(waves),
        *(_detectable_lines(plan) if len(plan.conditions) > 1 else ()),
        *_auroc_lines(plan),
    ):
        out.print(line, highlight=False, soft_wrap=True)


def _asked(plan: Plan) -> str:
    """Return the title of what tells the trials of one model apart."""
    return "prompt set" if any(isinstance(trial, PromptTrial) for trial in plan.trials) else "dataset"


def _prediction_lines(prediction: Prediction) -> list[str]:
    run = prediction.run
    if run.seconds is None:
        return [f"minutes: unknown: {run.undefined_because}"]
    lines = [
        f"minutes: {_minutes(run)}, loading included; {_tokens(run)} tokens (nine nights of ten, from "
        f"{run.n_measurements} measured stretches on this machine, by {run.method})"
    ]
    n_shared = sum(work.n_shared for work in prediction.work.values())
    if n_shared:
        lines.append(f"{n_shared} requests stand in an earlier trial too and are answered from the cache")
    return [*lines, *prediction.notes]


def _needs_processor(plan: Plan) -> bool:
    """True where models are held here, and there is no GPU to hold them."""
    return any(block.model.engine.has_weights_here for block in plan.blocks) and not free_devices()


def _memory_line(found: ModelFit) -> str:
    """Return what a block needs, and whether it fits."""
    total = found.estimate.total if found.estimate else None
    if total is None:
        return f"memory of {found.model}: unknown: {found.unknown_because}"
    verdict = {True: "fits", False: "does not fit", None: "may or may not fit"}[found.fit.fits]
    return (
        f"memory of {found.model}, {found.slots} at once with {found.context_tokens} tokens each: "
        f"{in_words(total)}; {verdict}: {found.fit.why}"
    )


def _wave_lines(waves: Sequence[Wave]) -> list[str]:
    """Return which models are held at the same time, and what they take together; nothing where there is one."""
    if len(waves) <= 1 and all(len(wave.blocks) == 1 for wave in waves):
        return []
    if all(len(wave.blocks) == 1 for wave in waves):
        reasons = dict.fromkeys(wave.alone_because for wave in waves)
        if len(reasons) == 1:
            return [f"models are held one at a time: {next(iter(reasons))}"]
    lines = [_wave_line(wave) for wave in waves]
    return [
        *lines,
        "the minutes are those of one model after the other; what they take together is not known",
    ]


def _wave_line(wave: Wave) -> str:
    if len(wave.blocks) == 1:
        return f"{wave.models[0]} is held alone: {wave.alone_because}"
    taken = [f"{in_words(n)} of {place} memory" for place, n in (wave.needs or {}).items() if n]
    return f"{', '.join(wave.models)} are held at the same time: {' and '.join(taken) or 'no memory here'}"


def _minutes(part: Estimate) -> str | None:
    if part.seconds is None or part.low_s is None or part.high_s is None:
        return None
    middle, low, high = (value / _SECONDS_PER_MINUTE for value in (part.seconds, part.low_s, part.high_s))
    return f"{middle:,.1f} ({low:,.1f} to {high:,.1f})"


def _tokens(part: Estimate) -> str | None:
    if part.prompt_tokens is None or part.completion_tokens is None:
        return None
    return f"{part.prompt_tokens + part.completion_tokens:,}"


def _detectable_lines(plan: Plan) -> list[str]:
    record = plan_record(plan)
    needed = ", ".join(f"{n:,} for {100 * float(size):g}" for size, n in record["required_items_em"].items())
    lines = []
    for kind, difference in record["smallest_detectable_difference_em"].items():
        n_items = sum(item.type.value == kind for item in plan.items)
        shown = (
            "no difference can be shown" if difference is None else f"{100 * difference:.0f} points or more"
        )
        lines.append(
            f"smallest difference in exact match that {n_items} {kind}-book items can show: {shown} "
            "(80 % power at 5 %, if the arms differ on a fifth of the items)"
        )
    return [*lines, f"items of one type that would be needed, by the points to show: {needed}"]


def _auroc_lines(plan: Plan) -> list[str]:
    """Return what the AUROCs of each data set are going to say; nothing for a sweep of another kind."""
    by_dataset: dict[str, list[ExpectedAuroc]] = {}
    for one in expected_aurocs(plan.trials, plan.items):
        by_dataset.setdefault(one.dataset, []).append(one)
    lines = []
    for dataset, found in by_dataset.items():
        n_items, n_passages = found[0].n_items, found[0].n_passages
        about = (
            ""
            if n_passages is None
            else f" about {n_passages:,} passages, which tell less than as many alone"
        )
        widths = ", ".join(f"{_area(one.half_width)} with {one.share_right:.0%} right" for one in found)
        differences = ", ".join(_area(one.smallest_difference) for one in found)
        lines.append(
            f"AUROC of {dataset}, {n_items:,} items{about}: {CONFIDENCE:.0%} interval of \u00b1 {widths}; smallest "
            f"difference of two measures that they can show: {differences}"
        )
    if lines:
        lines.append(
            f"(at an AUROC of {ASSUMED_AUROC:g}, by Hanley & McNeil; differences at {POWER:.0%} power and "
            f"{1 - CONFIDENCE:.0%}, if the AUROCs of two measures correlate by {ASSUMED_CORRELATION:g})"
        )
    return lines


def _area(value: float | None) -> str:
    return "(too few of a kind)" if value is None else f"{value:.3f}"
