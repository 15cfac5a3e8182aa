"""The reports of a best-of-K sweep in Markdown: of the run, and of each trial."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from overnight.report.best_of_k.findings import verdict
from overnight.report.best_of_k.naming import HOW_TO_READ
from overnight.report.best_of_k.results import BestOfKReport, SweepTrial
from overnight.report.best_of_k.sections import sections_of, where
from overnight.report.best_of_k.vectors_view import vectors_sheets
from overnight.report.markdown import banner, sheets_markdown, table
from overnight.report.run_markdown import how_it_was_run, machine_tables, not_ended_well
from overnight.report.text import cell
from overnight.report.trial_markdown import how_it_ended, settings_tables

_LONGEST_CELL = 1000  # characters
_LONG = 5000  # of a sentence of ours, with names in it


def run_markdown(report: BestOfKReport) -> str:
    """Return ``aggregate_report.md``."""
    run = report.run
    blocks = chain(
        [f"# {cell(run.name)}, run {cell(run.run_id)}"],
        banner(run.is_dry_run),
        [cell(verdict(report), limit=_LONG)],
        [cell(run.description, limit=2000)] if run.description else [],
        ["\n".join(f"- {cell(note, limit=_LONG)}" for note in run.notes)] if run.notes else [],
        not_ended_well(run),
        _sections(report),
        _vectors(report),
        _pictures(report),
        how_it_was_run(run),
        machine_tables(run),
        [
            "## Where the files are",
            "All names are relative to the folder of the run.",
            table(["what", "file"], where(report), limit=_LONGEST_CELL),
        ],
        ["## How to read this", *HOW_TO_READ],
    )
    return "\n\n".join(blocks) + "\n"


def trial_markdown(report: BestOfKReport, one: SweepTrial) -> str:
    """Return ``report.md`` of a trial."""
    alone = replace(report, trials=(one,), differences=())
    blocks = chain(
        [f"# {cell(one.slug, limit=500)}"],
        banner(one.trial.is_dry_run),
        how_it_ended(one.trial),
        [cell(verdict(alone), limit=_LONG)],
        _sections(alone),
        _vectors(alone),
        settings_tables(one.trial),
        ["## How to read this", *HOW_TO_READ],
    )
    return "\n\n".join(blocks) + "\n"


def _sections(report: BestOfKReport) -> Iterator[str]:
    for section in sections_of(report):
        yield f"## {cell(section.heading)}"
        if section.paragraphs:
            yield "\n".join(f"- {cell(text, limit=_LONG)}" for text in section.paragraphs)
        yield from sheets_markdown(section.sheets, under=section.heading, limit=_LONGEST_CELL)


def _vectors(report: BestOfKReport) -> Iterator[str]:
    sheets = list(vectors_sheets(report))
    if sheets:
        yield "## Vectors and their texts"
        yield from sheets_markdown(sheets, under="Vectors and their texts")


def _pictures(report: BestOfKReport) -> Iterator[str]:
    if report.pictures:
        yield "## Figures"
        yield from (f"![{cell(picture.title)}](figures/{picture.path.name})" for picture in report.pictures)
