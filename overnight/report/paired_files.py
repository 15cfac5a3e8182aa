"""The files of a comparison of systems."""

from pathlib import Path

from overnight.report.paired import PairedReport, paired_record
from overnight.report.paired_markdown import paired_markdown
from overnight.report.paired_page import paired_page
from overnight.store.files import write_json, write_text

SIGNIFICANCE, MARKDOWN, PAGE = "significance.json", "report.md", "report.html"


def write_paired_report(folder: Path, report: PairedReport) -> tuple[Path, ...]:
    """Write a comparison as JSON, Markdown and HTML; return the paths."""
    write_json(folder / SIGNIFICANCE, paired_record(report))
    write_text(folder / MARKDOWN, paired_markdown(report))
    write_text(folder / PAGE, paired_page(report))
    return tuple(folder / name for name in (SIGNIFICANCE, MARKDOWN, PAGE))
