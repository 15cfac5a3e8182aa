"""``summary.csv`` of an uncertainty sweep: a row a trial, with how it ended and its main result."""

from pathlib import Path

from overnight.report.uncertainty.auroc_results import Row, result_row
from overnight.report.uncertainty.results import UncertaintyReport
from overnight.runs.tables import cell, table_writer

FIRST_COLUMNS = ("trial", "model", "dataset", "state", "expected", "done", "errors", "truncated", "measure")


def write_summary(path: Path, report: UncertaintyReport) -> None:
    """Write the table: every trial of the run, with the columns of ``auroc_results.csv`` where it was measured."""
    rows = _rows(report)
    columns = tuple(dict.fromkeys((*FIRST_COLUMNS, *(name for row in rows for name in row))))
    with table_writer(path, columns) as table:
        for row in rows:
            table.writerow([cell(row.get(column)) for column in columns])


def _rows(report: UncertaintyReport) -> list[Row]:
    rows: list[Row] = []
    for trial in report.run.trials:
        row: Row = {
            "trial": trial.slug,
            "model": trial.model,
            "dataset": trial.requested.get("dataset"),
            "state": trial.state.value,
            "expected": trial.counts.expected,
            "done": trial.counts.done,
            "errors": trial.counts.errors,
            "truncated": trial.counts.truncated,
        }
        result = report.result(trial)
        if report.analysis and result:
            row |= {"measure": report.analysis.measure, **result_row(report.analysis, result)}
        rows.append(row)
    return rows
