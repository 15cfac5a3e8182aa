"""The figure of the contrasts: every matched pair and what pairs say together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from overnight.report.drawing import BLUE, GREY, VERMILION
from overnight.report.uncertainty.findings import SHOWN_BELOW
from overnight.report.uncertainty.frame import LABEL_PT, MARGIN_IN, SMALL_PT, WIDTH_IN, Frame, line_in
from overnight.report.uncertainty.marks import draw_row_names, judged_by, level_of_intervals
from overnight.report.uncertainty.naming import dataset_title, level_title, q
from overnight.report.wording import counted
from overnight.stats.contrasts import MatchedPair
from overnight.stats.model_cells import Factor
from overnight.uncertainty.analysis import Analysis

_NAMES_IN, _HEAD_IN, _GAP_IN = 2.2, 0.36, 0.1
_MOST_PAIRS = 8  # of a factor; pooled rows are all there
_NARROWEST = 0.05  # half of the axis, where twins do not differ
_SHARE = 0.05  # of the widest interval, beyond its end


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    lines: tuple[str, ...]  # what it is
    value: float
    low: float | None
    high: float | None
    q_value: float | None
    is_pooled: bool


def contrast_forest(analysis: Analysis) -> Figure | None:
    """Return the differences of areas between what differs in one thing alone, factor by factor."""
    groups = {
        factor: rows for factor in Factor if (rows := [*_pooled(analysis, factor), *_pairs(analysis, factor)])
    }
    if not groups:
        return None
    rows = [row for group in groups.values() for row in group]
    values = [abs(value) for row in rows for value in (row.value, row.low, row.high) if value is not None]
    reach = (1 + _SHARE) * max(_NARROWEST, *values)
    frame = Frame(
        analysis,
        title="What makes the difference: matched contrasts",
        remark=f"Difference of AUROC between trials that differ in one thing alone; {judged_by(analysis)}. Lines are "
        f"{level_of_intervals(analysis)} intervals. q allows for the number of tests in the run.",
        body_in=sum(_HEAD_IN + _row_in(group) * len(group) for group in groups.values()) + 0.5,
        legend=[
            _mark("D", VERMILION, VERMILION, "pairs taken together"),
            _mark("o", BLUE, BLUE, "one pair"),
            _mark("o", GREY, GREY, f"filled: q < {SHOWN_BELOW:g}"),
            _mark("o", GREY, "white", "open: not shown, or not tested"),
        ],
        notes=[*_left_out(analysis), *_unmatched(analysis)],
    )
    top = 0.0
    for number, (factor, group) in enumerate(groups.items(), start=1):
        title = "Data set" if factor == Factor.DATASET else factor.value.capitalize()
        frame.lines([title], MARGIN_IN, top + _HEAD_IN - line_in(LABEL_PT) - 0.04, LABEL_PT, bold=True)
        row_in, top = _row_in(group), top + _HEAD_IN
        draw_row_names(frame, [row.lines for row in group], top, row_in, _NAMES_IN - 0.1)
        axes = frame.axes(MARGIN_IN + _NAMES_IN, top, WIDTH_IN - _NAMES_IN - 0.4, row_in * len(group))
        _draw_group(axes, group)
        axes.set_xlim(-reach, reach)
        top += row_in * len(group)
        if number < len(groups):
            axes.tick_params(labelbottom=False, length=0)
            axes.spines["bottom"].set_visible(False)
        else:
            axes.set_xlabel("difference of AUROC", fontsize=LABEL_PT)
    return frame.figure


def _row_in(group: Sequence[_Row]) -> float:
    return max(len(row.lines) for row in group) * line_in(SMALL_PT) + _GAP_IN


def _draw_group(axes: Axes, group: Sequence[_Row]) -> None:
    axes.axvline(0, color=GREY, linewidth=1)
    for place, row in enumerate(group):
        color, marker = (VERMILION, "D") if row.is_pooled else (BLUE, "o")
        face = color if row.q_value is not None and row.q_value < SHOWN_BELOW else "white"
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [place] * 2, color=color, linewidth=1.6, solid_capstyle="butt")
        axes.plot([row.value], [place], marker, color=color, markerfacecolor=face, markersize=5.5)
    axes.set_ylim(len(group) - 0.5, -0.5)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)


def _pooled(analysis: Analysis, factor: Factor) -> Iterator[_Row]:
    for one in analysis.contrasts.summaries:
        if (one.factor, one.measure, one.label) != (factor, analysis.measure, analysis.label):
            continue
        if found := one.hartung_knapp:
            first, second = (level_title(factor, level) for level in one.levels)
            yield _Row(
                lines=(f"{second} less {first}", _more(counted(one.n_pairs, "pair"), one.q_value)),
                value=found.mean,
                low=found.low,
                high=found.high,
                q_value=one.q_value,
                is_pooled=True,
            )


def _pairs(analysis: Analysis, factor: Factor) -> Iterator[_Row]:
    cells = {
        f"{trial.model.name} on {trial.dataset}": (trial.model.name, dataset_title(trial.dataset))
        for trial in analysis.trials
    }
    for pair in _defined_pairs(analysis, factor)[:_MOST_PAIRS]:
        test = pair.difference
        if test.difference is None:
            continue
        (first, first_on), (second, second_on) = cells[test.first], cells[test.second]
        if factor == Factor.DATASET:
            lines: tuple[str, ...] = (f"{second_on} less {first_on}", first, q(test.q_value) or "not tested")
        else:
            lines = (second, f"less {first}", _more(first_on, test.q_value))
        yield _Row(
            lines=lines,
            value=test.difference,
            low=test.low,
            high=test.high,
            q_value=test.q_value,
            is_pooled=False,
        )


def _more(where: str, q_value: float | None) -> str:
    return f"{where}; {q(q_value)}" if q_value is not None else where


def _defined_pairs(analysis: Analysis, factor: Factor) -> list[MatchedPair]:
    return [
        pair
        for pair in analysis.contrasts.pairs
        if (pair.factor, pair.measure, pair.label) == (factor, analysis.measure, analysis.label)
        and pair.difference.difference is not None
    ]


def _left_out(analysis: Analysis) -> Iterator[str]:
    for factor in Factor:
        n_more = len(_defined_pairs(analysis, factor)) - _MOST_PAIRS
        if n_more > 0:
            yield f"{counted(n_more, 'further pair')} by {factor.value} in analysis_summary.json."


def _unmatched(analysis: Analysis) -> Iterator[str]:
    for one in analysis.contrasts.unmatched:
        if (one.measure, one.label) == (analysis.measure, analysis.label):
            yield f"{one.factor.value.capitalize()}: {one.sentence}."


def _mark(marker: str, color: str, face: str, label: str) -> Line2D:
    return Line2D(
        [],
        [],
        color=color,
        marker=marker,
        markersize=5.5,
        linestyle="none",
        markerfacecolor=face,
        label=label,
    )
