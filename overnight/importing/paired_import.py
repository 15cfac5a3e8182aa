"""From logs of another tool to the files of a comparison."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from overnight.errors import UsageError
from overnight.importing.inspect_logs import find_log_files, read_log
from overnight.importing.lm_eval import find_sample_files, read_samples
from overnight.importing.logs import IdentifyBy, LoggedItem, SystemLog
from overnight.importing.table import ScoreTable, score_table
from overnight.report.paired import PairedReport, PairedTable, differing_items
from overnight.report.paired_files import write_paired_report
from overnight.stats.systems import compare_systems
from overnight.store.files import atomic_writer

PER_ITEM = "per_item.csv"


class Tool(StrEnum):
    """Whose logs are read."""

    LM_EVAL = "lm-eval"
    INSPECT = "inspect"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What is taken from the logs and how it is compared."""

    metric: str | None = None  # None: the only one there is
    task: str | None = None
    filter_name: str | None = None  # of lm-evaluation-harness
    identify_by: IdentifyBy = IdentifyBy.CONTENT
    is_common_only: bool = False
    is_partial_allowed: bool = False
    seed: int = 1337
    n_resamples: int = 5000
    confidence: float = 0.95


def import_logs(tool: Tool, paths: Sequence[Path], out: Path, options: ImportOptions) -> PairedReport:
    """Read logs, compare every two systems in them, and write a CSV, a JSON and two reports into ``out``.

    Raises:
        UsageError: a file is not what was wanted, or the logs cannot be compared; nothing is written then.
    """
    table = score_table(_read(tool, paths, options), options.metric, is_common_only=options.is_common_only)
    report = _report(tool, table, options)
    _write_per_item(out / PER_ITEM, table)
    write_paired_report(out, report)
    return report


def _read(tool: Tool, paths: Sequence[Path], options: ImportOptions) -> list[SystemLog]:
    if tool is Tool.LM_EVAL:
        return _sharing_items(
            read_samples(
                file,
                filter_name=options.filter_name,
                identify_by=options.identify_by,
                is_partial_allowed=options.is_partial_allowed,
            )
            for file in find_sample_files(paths, options.task)
        )
    if options.filter_name is not None:
        raise UsageError("--filter: logs of Inspect have no filters; leave it out, or choose with --metric")
    return _sharing_items(
        read_log(file, identify_by=options.identify_by, is_partial_allowed=options.is_partial_allowed)
        for file in find_log_files(paths, options.task)
    )


def _sharing_items(logs: Iterable[SystemLog]) -> list[SystemLog]:
    """Hold the text of an item once, however many systems were asked."""
    known: dict[str, LoggedItem] = {}
    return [
        replace(log, items={key: _shared(known, key, item) for key, item in log.items.items()})
        for log in logs
    ]


def _shared(known: dict[str, LoggedItem], key: str, item: LoggedItem) -> LoggedItem:
    other = known.setdefault(key, item)
    return other if other == item else item


def _report(tool: Tool, table: ScoreTable, options: ImportOptions) -> PairedReport:
    comparison = compare_systems(
        table.scores,
        metric=table.metric,
        seed=options.seed,
        n_resamples=options.n_resamples,
        confidence=options.confidence,
    )
    describe = {key: (item.item_id, item.text, item.target) for key, item in table.items.items()}
    differing, n_differing = differing_items(table.scores, describe)
    values = [value for items in table.scores.values() for value in items.values() if value is not None]
    task = table.task or "one task"
    return PairedReport(
        title=f"{len(table.scores)} systems on {task}: {table.metric}",
        facts=(
            (
                "read from",
                {Tool.LM_EVAL: "lm-evaluation-harness samples", Tool.INSPECT: "Inspect logs"}[tool],
            ),
            ("task", task),
            ("metric", table.metric),
            ("items", f"{len(table.items):,}, identified by {table.identified_by}"),
            ("seed, resamples", f"{options.seed}, {options.n_resamples:,}"),
            *((f"log of {system}", source) for system, source in table.sources.items()),
        ),
        findings=table.notes,
        tables=(
            PairedTable(
                heading=f"{table.metric}, {task}",
                where={"task": task},
                comparison=comparison,
                is_higher_better=table.is_higher_better,
                is_share=all(0.0 <= value <= 1.0 for value in values),
                differing=differing,
                n_differing=n_differing,
            ),
        ),
    )


def _write_per_item(path: Path, table: ScoreTable) -> None:
    """Write the item's key and one column a system; a score that is not defined is empty."""
    with atomic_writer(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["item", *table.scores])
        for key in table.items:
            scores = (items[key] for items in table.scores.values())
            rows.writerow([key, *("" if score is None else repr(score) for score in scores)])
