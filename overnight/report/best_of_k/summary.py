"""``summary.csv`` and ``k_sweep_summary.csv``: a row a trial, and a row a trial and number of texts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from overnight.best_of_k.baselines import Baseline
from overnight.best_of_k.definitions import Measure
from overnight.best_of_k.record import Curve, KSweepResults
from overnight.best_of_k.selectors import Selector
from overnight.report.best_of_k.results import HEADLINE, BestOfKReport, SweepTrial, gap_of
from overnight.runs.tables import cell, table_writer

Row = dict[str, str | int | float | None]
_ABOUT: Final = ("trial", "label", "model", "lens", "dataset", "layer", "temperature", "state")


def write_summaries(summary: Path, by_k: Path, report: BestOfKReport) -> None:
    """Write both tables; a number that is not known is an empty cell."""
    _write(summary, [_trial_row(one) for one in report.trials])
    _write(by_k, [row for one in report.trials for row in _k_rows(one)])


def _write(path: Path, rows: list[Row]) -> None:
    columns = tuple(dict.fromkeys((*_ABOUT, *(name for row in rows for name in row))))
    with table_writer(path, columns) as table:
        for row in rows:
            table.writerow([cell(row.get(column)) for column in columns])


def _about(one: SweepTrial) -> Row:
    asked = one.trial.requested
    return {
        "trial": one.slug,
        "label": one.label,
        **{name: asked.get(name) for name in _ABOUT[2:-1]},
        "state": one.trial.state.value,
    }


def _trial_row(one: SweepTrial) -> Row:
    counts = one.trial.counts
    row = _about(one) | {"expected": counts.expected, "done": counts.done, "errors": counts.errors}
    if one.measured is not None and one.largest_k is not None:
        row |= _at(one.measured, one.largest_k)
    return row


def _k_rows(one: SweepTrial) -> Iterator[Row]:
    if one.measured is not None:
        for k in one.measured.measured_ks:
            yield _about(one) | _at(one.measured, k)


def _at(results: KSweepResults, k: int) -> Row:
    counts, costs = results.vectors, results.costs
    row: Row = {
        "k": k,
        "n_vectors": counts.n_measured,
        "n_sources": counts.n_sources,
        "n_failed_draws": counts.n_failed_draws,
    }
    at = results.oracle.at(k)
    for measure in Measure:
        found = at.measures[measure] if at else None
        row |= {
            measure.value: found.value if found else None,
            f"{measure.value}_ci_lower": found.ci_lower if found else None,
            f"{measure.value}_ci_upper": found.ci_upper if found else None,
        }
    row["r_squared_by_dimension"] = at.r_squared_by_dimension if at else None
    for name, curve in _beside(results):
        gap = gap_of(curve.at(k)) if curve else None
        row |= {
            f"{name}_{HEADLINE.value}": curve.value(k, HEADLINE) if curve else None,
            f"oracle_ahead_of_{name}": gap.gap.value if gap else None,
            f"oracle_ahead_of_{name}_ci_lower": gap.gap.ci_lower if gap else None,
            f"oracle_ahead_of_{name}_ci_upper": gap.gap.ci_upper if gap else None,
        }
    row["tokens_per_vector"] = None if costs.tokens_per_draw is None else k * costs.tokens_per_draw
    row["seconds_per_vector"] = None if costs.seconds_per_draw is None else k * costs.seconds_per_draw
    return row


def _beside(results: KSweepResults) -> Iterator[tuple[str, Curve | None]]:
    yield from ((each.value, results.selector(each)) for each in Selector if not each.sees_target)
    yield from ((each.value, results.baseline(each)) for each in Baseline)
