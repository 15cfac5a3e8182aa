"""A comparison of systems as one page: everything inside, nothing fetched, every text escaped."""

import math
from dataclasses import dataclass

from overnight.report import paired_wording, wording
from overnight.report.paired import MAX_DIFFERING, SHOWN_BELOW, PairedReport, PairedTable
from overnight.report.templating import ours, page_environment, script_digest
from overnight.stats.systems import SystemPair

ROWS_PER_FOREST = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """The differences of one table as they are drawn."""

    table: PairedTable
    pairs: tuple[SystemPair, ...]  # the largest, in the order of the table
    n_left_out: int
    limit: float  # where the axis ends, on both sides of 0


def paired_page(report: PairedReport) -> str:
    """Return the report as HTML."""
    script = ours("tables.js")
    page: str = (
        page_environment()
        .get_template("paired.html.j2")
        .render(
            report=report,
            style=ours("report.css"),
            script=script,
            script_digest=script_digest(script),
            forests=[forest(table) for table in report.tables],
            shown_below=SHOWN_BELOW,
            max_differing=MAX_DIFFERING,
            p=paired_wording,
            w=wording,
        )
    )
    return page


def forest(table: PairedTable) -> Forest:
    """Return what is drawn of a table: at most `ROWS_PER_FOREST` pairs, on an axis that ends at a round number."""
    known = [pair for pair in table.comparison.pairs if pair.mean_difference is not None]
    largest = sorted(known, key=lambda pair: -abs(pair.mean_difference or 0.0))[:ROWS_PER_FOREST]
    names = {(pair.first, pair.second) for pair in largest}
    pairs = tuple(pair for pair in known if (pair.first, pair.second) in names)
    values = [
        abs(value)
        for pair in pairs
        for value in (pair.mean_difference, pair.ci_low, pair.ci_high)
        if value is not None
    ]
    return Forest(
        table=table,
        pairs=pairs,
        n_left_out=len(known) - len(pairs),
        limit=round_limit(max(values, default=0.0)),
    )


def round_limit(value: float) -> float:
    """Return the smallest of 1, 2, 3, 5 times a power of ten that is not below a value; 0 gives 0.05."""
    if value <= 0:
        return 0.05
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 3, 5, 10) if step * power >= value * (1 - 1e-12))
