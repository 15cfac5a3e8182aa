"""``overnight compare``: what it prints."""

from collections.abc import Sequence
from pathlib import Path

from overnight.cli.importing import print_report
from overnight.report.paired_files import write_paired_report
from overnight.report.paired_markdown import paired_markdown
from overnight.runs.side_by_side import CompareOptions, compare_runs


def compare_command(
    experiments: Path, words: Sequence[str], out: Path | None, options: CompareOptions, *, as_json: bool
) -> None:
    """Compare runs; without a folder to write to, the report is printed."""
    report = compare_runs(experiments, words, options)
    files = write_paired_report(out, report) if out else ()
    if as_json or out:
        print_report(report, files, as_json=as_json)
    else:
        print(paired_markdown(report), end="")  # noqa: T201 - the terminal is our output
