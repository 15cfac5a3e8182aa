"""Where things stand in a forest plot: differences with their intervals, one panel a metric and type."""

from dataclasses import dataclass

from overnight.records import ItemType
from overnight.report.comparisons import MetricRow
from overnight.report.results import RunReport
from overnight.report.verdict import Placed, comparisons
from overnight.report.wording import metric_name

ACCURACY = ("em", "f1")
CONDUCT = ("abstain_rate", "false_answer_rate", "unsupported_rate")
ROWS_PER_PANEL = 60
_NICE_LIMITS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One comparison of a panel."""

    label: str
    row: MetricRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """The comparisons of one metric on one type of item."""

    metric: str
    type: ItemType
    lines: tuple[Line, ...]
    n_left_out: int

    @property
    def title(self) -> str:
        """What the panel shows."""
        return f"{metric_name(self.metric)}, {self.type.value} items"


def panels(run: RunReport, metrics: tuple[str, ...] = ACCURACY) -> tuple[Panel, ...]:
    """Return the panels that have anything to show: metric by metric, closed before open.

    A panel holds at most `ROWS_PER_PANEL` comparisons, those with the largest differences.
    """
    found = []
    for metric in metrics:
        for kind in ItemType:
            placed = [
                p
                for p in comparisons(run)
                if (p.row.metric, p.cell.type) == (metric, kind) and p.row.delta is not None
            ]
            if placed:
                largest = sorted(placed, key=_size, reverse=True)[:ROWS_PER_PANEL]
                found.append(
                    Panel(
                        metric=metric,
                        type=kind,
                        lines=tuple(
                            Line(label=p.trial.arm_label(p.cell.temperature), row=p.row)
                            for p in placed
                            if p in largest
                        ),
                        n_left_out=len(placed) - len(largest),
                    )
                )
    return tuple(found)


def axis_limit(shown: tuple[Panel, ...]) -> float:
    """Return where the axes of all panels end, on both sides of 0."""
    values = [
        abs(value)
        for panel in shown
        for line in panel.lines
        for value in (line.row.delta, line.row.ci_low, line.row.ci_high)
        if value is not None
    ]
    return next(limit for limit in _NICE_LIMITS if limit >= min(1.0, max(values, default=0.0)))


def _size(placed: Placed) -> float:
    return abs(placed.row.delta or 0.0)
