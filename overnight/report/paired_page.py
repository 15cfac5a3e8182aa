"""A comparison of systems as one page: everything inside, nothing fetched, every text escaped."""

import base64
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from overnight.report import paired_wording, wording
from overnight.report.paired import MAX_DIFFERING, SHOWN_BELOW, PairedReport, PairedTable
from overnight.report.text import visible
from overnight.stats.systems import SystemPair

_TEMPLATES = Path(__file__).parent / "templates"
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
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (_TEMPLATES / "paired.js").read_text(encoding="utf-8")
    page: str = environment.get_template("paired.html.j2").render(
        report=report,
        style=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - ours
        script=Markup(script),  # noqa: S704 - ours
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        forests=[forest(table) for table in report.tables],
        shown_below=SHOWN_BELOW,
        max_differing=MAX_DIFFERING,
        p=paired_wording,
        w=wording,
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


def _shown(value: object) -> str:
    """Return what is printed for a value: nothing for None, a text with every character visible.

    Raises:
        ValueError: a number is not finite; no report shows one.
    """
    if value is None:
        return ""
    if isinstance(value, Markup):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a report was to show {value}; a number that is not known is None")
    return visible(str(value))
