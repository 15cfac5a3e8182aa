"""``overnight import``: what it prints."""

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from overnight.cli.console import console
from overnight.errors import UsageError
from overnight.importing.choosing import nearest
from overnight.importing.logs import IdentifyBy
from overnight.importing.paired_import import PER_ITEM, ImportOptions, Tool, import_logs
from overnight.report.paired import PairedReport, paired_record
from overnight.report.paired_files import MARKDOWN, PAGE, SIGNIFICANCE
from overnight.report.paired_wording import verdict
from overnight.report.text import visible

GENERATIONS: Final = "generations"
_PICKLES: Final = (".pkl", ".pickle")
_OF_COMPARISONS: Final = {
    "metric": "--metric",
    "filter_name": "--filter",
    "identify_by": "--identify-by",
    "is_common_only": "--common-items",
    "is_partial_allowed": "--unfinished",
}


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
    """Import logs and say what was found and where it is.

    A pickle may be named without saying what it is.
    """
    if Path(tool).suffix in _PICKLES:
        tool, paths = GENERATIONS, [Path(tool), *paths]
    known = [*(one.value for one in Tool), GENERATIONS]
    if tool not in known:
        raise UsageError(f"import {tool}: {nearest(tool, known, 'format')}")
    if not paths:
        raise UsageError(f"import {tool}: no PATH; name the files to read")
    if tool == GENERATIONS:
        _import_generations(paths, out, options, as_json=as_json)
        return
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


def _import_generations(paths: Sequence[Path], out: Path, options: ImportOptions, *, as_json: bool) -> None:
    """Import answers with their tokens, and say how well each measure finds the wrong ones."""
    from overnight.importing import generations_files  # noqa: PLC0415 - scikit-learn, for this alone
    from overnight.importing.generations_import import measure_generations  # noqa: PLC0415

    defaults = {field.name: field.default for field in fields(ImportOptions)}
    for name, flag in _OF_COMPARISONS.items():
        if getattr(options, name) != defaults[name]:
            raise UsageError(f"{flag}: is for comparisons of logs, not for generations; take it out")
    found = measure_generations(
        paths, out, dataset=options.task, seed=options.seed, n_resamples=options.n_resamples
    )
    for one in found:
        generations_files.write_generations(one)
    if as_json:
        rows = [generations_files.record(one) for one in found]
        print(json.dumps(rows, indent=2, allow_nan=False))  # noqa: T201 - our output
        return
    for one in found:
        names = [str(one.folder / name) for name in generations_files.FILES]
        for line in (*generations_files.wording(one), *names, ""):
            console().print(visible(line), highlight=False, markup=False, soft_wrap=True)
