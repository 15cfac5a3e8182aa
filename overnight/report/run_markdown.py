"""The report of a run, in Markdown."""

from collections.abc import Iterator
from itertools import chain

from overnight.ids import number_label
from overnight.records import Condition, ItemType
from overnight.report.comparisons import MetricRow
from overnight.report.foresight import foresight
from overnight.report.markdown import banner, items_table, sheets_markdown, speed, table
from overnight.report.results import TRUNCATED_TOO_OFTEN, RunReport, TrialReport
from overnight.report.sheets.invariance import audit_of_run
from overnight.report.sheets.ladder import steps_of_run
from overnight.report.sheets.machine import HEADING as MACHINE
from overnight.report.sheets.machine import machine_sheets
from overnight.report.sheets.trials import HEADING, trials_sheets
from overnight.report.text import cell
from overnight.report.verdict import verdict
from overnight.report.wording import (
    ARROW,
    HOW_TO_READ,
    MEMORY,
    NOT_AVAILABLE,
    change,
    confidence,
    count,
    decimal,
    environment_rows,
    memory,
    metric_name,
    moment,
    percent,
    setting,
    where_rows,
    why_unfinished,
)

_OPEN_ONLY = ("abstain_rate", "false_answer_rate", "unsupported_rate")
_COMPARED = tuple((kind, metric) for kind in ItemType for metric in ("em", "f1"))


def run_markdown(run: RunReport) -> str:
    """Return ``aggregate_report.md``."""
    blocks = chain(
        [f"# {cell(run.name)}, run {cell(run.run_id)}"],
        banner(run.is_dry_run),
        [cell(verdict(run), limit=5000)],
        [cell(run.description, limit=2000)] if run.description else [],
        [f"- {cell(note)}" for note in run.notes],
        _all_trials(run),
        _among(run),
        _reliability(run),
        not_ended_well(run),
        how_it_was_run(run),
        machine_tables(run),
        _where(run),
        ["## How to read this", *HOW_TO_READ],
    )
    return "\n\n".join(blocks) + "\n"


def _all_trials(run: RunReport) -> Iterator[str]:
    yield "## All trials"
    if not any(trial.cells for trial in run.trials):
        yield "No trial has been compared yet."
        return
    yield table(
        ["trial", "model", "prompt set", "T", *(f"{metric_name(m)}, {kind.value}" for kind, m in _COMPARED)],
        [
            [
                trial.label,
                trial.model,
                trial.prompt_set,
                number_label(temperature),
                *(change(_comparison(trial, temperature, kind, metric)) for kind, metric in _COMPARED),
            ]
            for trial, temperature in _arms(run)
        ],
    )
    yield _note_on_changes(run)
    yield "## Abstention and false answers on open items"
    yield table(
        ["trial", "T", *map(metric_name, _OPEN_ONLY)],
        [
            [
                trial.label,
                number_label(temperature),
                *(change(_comparison(trial, temperature, ItemType.OPEN, metric)) for metric in _OPEN_ONLY),
            ]
            for trial, temperature in _arms(run)
        ],
    )


def _note_on_changes(run: RunReport) -> str:
    return (
        f"Control {ARROW} treatment in percent; in parentheses the difference in percentage points, its "
        f"{confidence(run.trials)} interval, and q over all comparisons of the run."
    )


def _arms(run: RunReport) -> list[tuple[TrialReport, float]]:
    return [(trial, t) for trial in run.trials for t in sorted({part.temperature for part in trial.cells})]


def _comparison(trial: TrialReport, temperature: float, kind: ItemType, metric: str) -> MetricRow | None:
    cells = (part for part in trial.cells if (part.temperature, part.type) == (temperature, kind))
    return next((part.metric(metric) for part in cells), None)


def _among(run: RunReport) -> Iterator[str]:
    if sheets := trials_sheets(run):
        yield f"## {HEADING}"
        yield from sheets_markdown(sheets)


def _reliability(run: RunReport) -> Iterator[str]:
    yield "## Draws and truncation"
    yield table(
        [
            "trial",
            "state",
            "expected",
            "done",
            "errors",
            "truncated, %",
            *(f"{c.value}, %" for c in Condition),
        ],
        [
            [
                trial.label,
                trial.state.value,
                count(trial.counts.expected),
                count(trial.counts.done),
                count(trial.counts.errors),
                percent(trial.truncated_share) or NOT_AVAILABLE,
                *(percent(trial.truncated_share_of(condition)) or NOT_AVAILABLE for condition in Condition),
            ]
            for trial in run.trials
        ],
    )
    if worst := [t for t in run.trials if (t.truncated_share or 0) > TRUNCATED_TOO_OFTEN]:
        names = ", ".join(cell(trial.label) for trial in worst)
        yield f"**Warning: more than 10 % of the replies were cut off at the token limit in {names}.**"
    yield from sheets_markdown([audit_of_run(run)])


def not_ended_well(run: RunReport) -> Iterator[str]:
    """Yield the section on the trials that did not come to their end, where there are any."""
    if not run.unfinished and run.error is None:
        return
    yield "## Not ended well"
    if run.error:
        yield f"The run is {run.state.value}: {cell(run.error, limit=1000)}"
    if run.unfinished:
        yield table(
            ["trial", "state", "reason"],
            [
                [trial.slug, trial.state.value, trial.error or why_unfinished(trial)]
                for trial in run.unfinished
            ],
            limit=1000,
        )


def how_it_was_run(run: RunReport) -> Iterator[str]:
    """Yield the section on models, steps down a ladder, speed, items and environment."""
    yield "## How it was run"
    if line := foresight(run.estimate):
        yield cell(line, limit=1000)
    yield table(
        ["model", "loads", "restarts", "last load, s", *MEMORY],
        [
            [b.model, count(b.loads), count(b.restarts), decimal(b.load_s) or NOT_AVAILABLE, *memory(run, b)]
            for b in run.blocks
        ],
    )
    yield from sheets_markdown([steps_of_run(run)])
    yield table(
        ["trial", "inference, s", "answers per minute", "completion tokens per second"],
        [[trial.label, *speed(trial)] for trial in run.trials],
    )
    yield items_table(run)
    yield table(
        ["what", "value"],
        [
            ["run", run.run_id],
            ["state", run.state.value],
            ["created", moment(run.created)],
            ["last change", moment(run.updated)],
            [
                "requests at once",
                setting("concurrency", run.execution.get("max_concurrent_requests") or "by engine"),
            ],
            *environment_rows(run),
        ],
        limit=1000,
    )


def machine_tables(run: RunReport) -> Iterator[str]:
    """Yield the section on what the machine did, where it was watched."""
    if sheets := machine_sheets(run):
        yield f"## {MACHINE}"
        yield from sheets_markdown(sheets)


def _where(run: RunReport) -> Iterator[str]:
    yield "## Where the files are"
    yield "All names are relative to the folder of the run."
    yield table(["what", "file"], where_rows(run), limit=1000)
