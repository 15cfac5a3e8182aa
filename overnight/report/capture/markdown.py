"""The report of a trait capture in Markdown."""

from collections.abc import Iterator
from itertools import chain

from overnight.report.capture.findings import verdict
from overnight.report.capture.naming import HOW_TO_READ
from overnight.report.capture.results import CaptureReport
from overnight.report.capture.sections import sections_of, where
from overnight.report.markdown import banner, sheets_markdown, table
from overnight.report.run_markdown import how_it_was_run, machine_tables, not_ended_well
from overnight.report.text import cell

_LONGEST_CELL = 1000  # characters
_LONG = 5000  # of a sentence of ours, with names in it


def run_markdown(report: CaptureReport) -> str:
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


def _sections(report: CaptureReport) -> Iterator[str]:
    for section in sections_of(report):
        yield f"## {cell(section.heading)}"
        if section.paragraphs:
            yield "\n".join(f"- {cell(text, limit=_LONG)}" for text in section.paragraphs)
        yield from sheets_markdown(section.sheets, under=section.heading, limit=_LONGEST_CELL)


def _pictures(report: CaptureReport) -> Iterator[str]:
    if report.pictures:
        yield "## Figures"
        yield from (f"![{cell(picture.title)}](figures/{picture.path.name})" for picture in report.pictures)
        if report.n_pictures_of_prompts:
            yield f"figures/prompts/ has a heat map and curves of {report.n_pictures_of_prompts} prompts."
