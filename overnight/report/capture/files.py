"""The tables, figures and pages of a trait capture, made from the files of its sequences alone."""

from dataclasses import replace
from pathlib import Path

from overnight.captures.index import write_index
from overnight.captures.lines import read_lines
from overnight.captures.reading import read_captures
from overnight.captures.summary import write_summary
from overnight.captures.table import write_projections
from overnight.errors import OvernightError
from overnight.report.capture.figures import n_prompts_drawn, write_figures
from overnight.report.capture.markdown import run_markdown
from overnight.report.capture.page import run_page
from overnight.report.capture.reading import read_capture
from overnight.report.capture.results import CaptureReport
from overnight.report.pictures import pictures_of
from overnight.store.files import write_text
from overnight.store.manifest import read_manifest
from overnight.store.run_folder import RunFolder, TrialFolder


def write_capture_files_again(folder: RunFolder) -> list[Path]:
    """Make everything of a capture that follows from the files of its sequences: tables, figures and pages.

    A trial whose files are damaged keeps the tables of before, and the report names what is damaged.

    Returns:
        The files that were written.

    Raises:
        StoreError: the run has no manifest that can be read.
    """
    written = []
    for slug in read_manifest(folder).trials:
        trial = folder.trial(slug)
        if (trial.results / "captures.jsonl").is_file():
            try:
                written += write_trial_tables(folder, trial)
            except OvernightError:
                continue  # the report says so with the file's name
    return [*written, *write_capture_reports(folder)]


def write_trial_tables(folder: RunFolder, trial: TrialFolder, *, as_csv: bool = False) -> list[Path]:
    """Write the projections, the summary and the index of a trial; return where they are.

    Raises:
        StoreError: a file is missing, damaged or of another making.
    """
    results = trial.results
    lines = results / "captures.jsonl"
    table = results / ("projections.csv" if as_csv else "projections.parquet")
    write_projections(table, read_captures(folder.path, lines))
    write_summary(results / "summary.csv", read_captures(folder.path, lines))
    write_index(results / "index.json", folder.path, read_lines(lines))
    return [table, results / "summary.csv", results / "index.json"]


def write_capture_reports(folder: RunFolder) -> list[Path]:
    """Write the figures and the pages of a capture; return where they are.

    Raises:
        StoreError: the run has no manifest that can be read.
    """
    report = read_capture(folder)
    titles = write_figures(folder, report)
    report = replace(
        report,
        pictures=tuple(pictures_of(folder.figures, titles)),
        n_pictures_of_prompts=n_prompts_drawn(folder.figures),
    )
    return [*_write_pages(folder, report), *sorted(folder.figures.rglob("*.p*"))]


def _write_pages(folder: RunFolder, report: CaptureReport) -> list[Path]:
    write_text(folder.aggregate_report, run_markdown(report))
    write_text(folder.html_report, run_page(report))
    return [folder.aggregate_report, folder.html_report]
