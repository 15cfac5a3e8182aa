"""``overnight import``: what it prints."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from overnight.cli.console import console
from overnight.errors import UsageError
from overnight.importing.choosing import nearest
from overnight.importing.logs import IdentifyBy
from overnight.importing.paired_import import PER_ITEM, ImportOptions, Tool, import_logs
from overnight.report.paired import PairedReport, paired_record
from overnight.report.paired_files import MARKDOWN, PAGE, SIGNIFICANCE
from overnight.report.paired_wording import verdict


def import_options(*, identify_by: str, **options: Any) -> ImportOptions:
    """Return the options of a command line.

    Raises:
        UsageError: there is no such way to identify items.
    """
    known = [one.value for one in IdentifyBy]
    if identify_by not in known:
        raise UsageError(f"--identify-by {identify_by}: {nearest(identify_by, known, 'way')}")
    return ImportOptions(identify_by=IdentifyBy(identify_by), **options)


def import_command(
    tool: str, paths: Sequence[Path], out: Path, options: ImportOptions, *, as_json: bool
) -> None:
    """Import logs and say what was found and where it is."""
    known = [one.value for one in Tool]
    if tool not in known:
        raise UsageError(f"import {tool}: {nearest(tool, known, 'format')}")
    report = import_logs(Tool(tool), paths, out, options)
    print_report(report, [out / name for name in (PER_ITEM, SIGNIFICANCE, MARKDOWN, PAGE)], as_json=as_json)


def print_report(report: PairedReport, files: Sequence[Path], *, as_json: bool) -> None:
    """Print a comparison: the whole of it as JSON, or its findings and where its files are."""
    if as_json:
        print(json.dumps(paired_record(report), indent=2, allow_nan=False))  # noqa: T201 - our output
        return
    lines = [report.title, "", *report.findings, verdict(report), *(str(file) for file in files)]
    for line in lines:
        console().print(line, highlight=False, markup=False, soft_wrap=True)
