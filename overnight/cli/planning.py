"""Showing a plan; nothing is loaded and nothing is written but the cache of frozen items."""

import json

from rich.console import Console
from rich.table import Table

from overnight.cli.console import console
from overnight.cli.sweep_options import LoadedSweep
from overnight.datasets.freezing import load_items, prepare_items
from overnight.planning.plan import Plan, make_plan, plan_record
from overnight.runs.opening import dataset_names
from overnight.spec.prompt_sweep import PromptSweepSpec


def plan_of(spec: PromptSweepSpec) -> Plan:
    """Return the plan of a resolved sweep."""
    path = prepare_items(spec.experiment).path
    return make_plan(spec, load_items([path / f"{name}.jsonl" for name in dataset_names(spec)]))


def show_plan(spec: PromptSweepSpec, *, as_json: bool) -> None:
    """Print the plan of a sweep."""
    plan = plan_of(spec)
    if as_json:
        print(json.dumps(plan_record(plan), indent=2))  # noqa: T201 - the terminal is our output
    else:
        print_plan(console(), plan)


def show_valid(sweep: LoadedSweep) -> None:
    """Say that a sweep is valid, and what it comes to."""
    plan = plan_of(sweep.spec)
    print(  # noqa: T201
        f"valid: {len(plan.trials)} trials, {len(plan.items)} items, {plan.n_requests} requests, "
        f"{len(plan.blocks)} models"
    )


def print_plan(out: Console, plan: Plan) -> None:
    """Print trials, requests, disk and the smallest difference that so many items can show."""
    table = Table(box=None, pad_edge=False)
    for title in ("trial", "model", "prompt set", "temperatures", "top_p", "top_k", "max tokens", "requests"):
        table.add_column(title, no_wrap=True, justify="right" if title == "requests" else "left")
    for trial in plan.trials:
        limits = trial.max_new_tokens
        table.add_row(
            trial.fingerprint[:8],
            trial.model.name,
            trial.prompt_set.name,
            ", ".join(map(repr, trial.temps)),
            repr(trial.top_p),
            str(trial.top_k),
            f"{limits.closed}/{limits.open}",
            str(plan.requests_per_trial[trial.slug]),
        )
    out.print(table)
    record = plan_record(plan)
    out.print(
        f"{len(plan.items)} items, {plan.n_requests} requests, {len(plan.blocks)} model loads, "
        f"up to {plan.bytes_on_disk / 1e6:.1f} MB on disk",
        highlight=False,
    )
    for kind, difference in record["smallest_detectable_difference_em"].items():
        n_items = sum(item.type.value == kind for item in plan.items)
        shown = (
            "no difference can be shown" if difference is None else f"{100 * difference:.0f} points or more"
        )
        out.print(
            f"smallest difference in exact match that {n_items} {kind}-book items can show: {shown} "
            "(80 % power at 5 %, if the arms differ on a fifth of the items)",
            highlight=False,
            soft_wrap=True,
        )
