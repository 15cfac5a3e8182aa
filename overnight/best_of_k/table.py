"""``k_sweep.csv``: a row a number, for a spreadsheet or a plotting script."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from overnight.best_of_k.record import AtK, KSweepResults
from overnight.store.files import atomic_writer

HEAD: Final = ("label", "k", "kind", "name", "measure", "value", "low", "high", "n_vectors")


def write_table(path: Path, results: KSweepResults) -> None:
    """Write the measures of a trial; a number that is not known is an empty cell."""
    with atomic_writer(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(HEAD)
        rows.writerows(_rows(results))


def _rows(results: KSweepResults) -> Iterator[Sequence[str | int | float | None]]:
    curves = [
        *(("selector", each.name.value, each) for each in (results.oracle, *results.selectors)),
        *(("baseline", each.name.value, each) for each in results.baselines),
        *(("role", each.role, each) for each in results.by_role),
    ]
    for kind, name, curve in curves:
        for at in curve.by_k:
            for measure, value, low, high in _numbers(at):
                yield results.label, at.k, kind, name, measure, value, low, high, curve.n_vectors


def _numbers(at: AtK) -> Iterator[tuple[str, float | None, float | None, float | None]]:
    for measure, each in at.measures.items():
        yield measure.value, each.value, each.ci_lower, each.ci_upper
    yield "r_squared_by_dimension", at.r_squared_by_dimension, None, None
    for gap in at.gaps:
        yield f"oracle_ahead_in_{gap.measure.value}", gap.gap.value, gap.gap.ci_lower, gap.gap.ci_upper
