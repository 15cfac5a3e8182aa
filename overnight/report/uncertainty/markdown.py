"""The reports of an uncertainty sweep in Markdown: of the run, and of each trial."""

from collections.abc import Iterator, Sequence
from itertools import chain

from overnight.report import wording as w
from overnight.report.markdown import banner, sheets_markdown, speed, table
from overnight.report.results import TrialReport
from overnight.report.run_markdown import how_it_was_run, machine_tables, not_ended_well
from overnight.report.sheets.invariance import audit_of_trial
from overnight.report.text import cell
from overnight.report.trial_markdown import how_it_ended, settings_tables
from overnight.report.trial_markdown import machine_tables as machine_tables_of_trial
from overnight.report.uncertainty.results import Section, UncertaintyReport
from overnight.report.uncertainty.run_sheets import HOW_TO_READ, where
from overnight.report.uncertainty.sections import results_of_run, results_of_trial
from overnight.report.uncertainty.verdict import by_trial, verdict

_LONGEST_CELL = 1000  # characters; texts of models are shorter already
_LONG = 5000  # characters of a paragraph of ours, with names in it


def run_markdown(report: UncertaintyReport) -> str:
    """Return ``aggregate_report.md``."""
    run = report.run
    blocks = chain(
        [f"# {cell(run.name)}, run {cell(run.run_id)}"],
        banner(run.is_dry_run),
        [cell(verdict(report), limit=_LONG)],
        _list(by_trial(report)),
        [cell(run.description, limit=2000)] if run.description else [],
        _list(run.notes),
        not_ended_well(run),
        _sections(results_of_run(report)),
        _pictures(report),
        how_it_was_run(run),
        machine_tables(run),
        [
            "## Where the files are",
            "All names are relative to the folder of the run.",
            table(["what", "file"], where(run), limit=1000),
        ],
        ["## How to read this", *HOW_TO_READ],
    )
    return "\n\n".join(blocks) + "\n"


def trial_markdown(report: UncertaintyReport, trial: TrialReport) -> str:
    """Return ``report.md`` of a trial."""
    result = report.result(trial)
    blocks = chain(
        [f"# {cell(trial.slug, limit=500)}"],
        banner(trial.is_dry_run),
        how_it_ended(trial),
        [_header(report, trial)],
        settings_tables(trial),
        _sections(results_of_trial(report, result))
        if result
        else [
            f"It was not analysed: {cell(report.no_analysis_because or 'it was not measured', limit=1000)}."
        ],
        ["## Draws", table(_DRAWS, [_draws(trial)])],
        sheets_markdown([audit_of_trial(trial)]),
        [
            "## Time",
            table(["inference, s", "answers per minute", "completion tokens per second"], [speed(trial)]),
        ],
        machine_tables_of_trial(report.run, trial),
        ["## How to read this", *HOW_TO_READ],
    )
    return "\n\n".join(blocks) + "\n"


_DRAWS = ("expected", "done", "errors", "cut off", "cut off, %")


def _draws(trial: TrialReport) -> list[str]:
    counts = trial.counts
    return [
        *map(w.count, (counts.expected, counts.done, counts.errors, counts.truncated)),
        w.percent(trial.truncated_share) or w.NOT_AVAILABLE,
    ]


def _header(report: UncertaintyReport, trial: TrialReport) -> str:
    asked = trial.requested
    return table(
        ["what", "value"],
        [
            ["model", trial.model],
            ["quantization", w.setting("quantization", asked.get("quantization"))],
            ["engine", w.setting("engine", asked.get("engine"))],
            ["data set", w.setting("dataset", asked.get("dataset"))],
            ["run", report.run.run_id],
            ["state", trial.state.value],
            ["begun", w.moment(trial.started) or w.NOT_AVAILABLE],
            ["ended", w.moment(trial.ended) or w.NOT_AVAILABLE],
        ],
    )


def _sections(sections: Sequence[Section]) -> Iterator[str]:
    for section in sections:
        yield f"## {cell(section.heading)}"
        yield from (cell(text, limit=_LONG) for text in section.paragraphs)
        yield from sheets_markdown(section.sheets, under=section.heading, limit=_LONGEST_CELL)


def _pictures(report: UncertaintyReport) -> Iterator[str]:
    if report.pictures:
        yield "## Figures"
        yield from (f"![{cell(picture.title)}](figures/{picture.path.name})" for picture in report.pictures)


def _list(texts: Sequence[str]) -> list[str]:
    return ["\n".join(f"- {cell(text, limit=_LONG)}" for text in texts)] if texts else []
