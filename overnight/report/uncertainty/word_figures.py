"""Figures that are read: the findings, and the whole run on one sheet."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from overnight.report.uncertainty.best import Shown, best_measures, best_trials, shown
from overnight.report.uncertainty.findings import findings
from overnight.report.uncertainty.frame import (
    LABEL_PT,
    MARGIN_IN,
    SMALL_PT,
    WIDTH_IN,
    Frame,
    fitted,
    line_in,
    wrapped,
)
from overnight.report.uncertainty.marks import judged_by, level_of_intervals, models_in_order, why_not_plotted
from overnight.report.uncertainty.naming import (
    area,
    area_interval,
    dataset_title,
    label_title,
    listed,
    measure_title,
)
from overnight.report.wording import count, counted, percent
from overnight.uncertainty.analysis import Analysis

_INNER_IN = WIDTH_IN - 2 * MARGIN_IN
_GAP_IN = 0.1
_ROW_IN = 0.38
# Where columns end, from the left; the first is the name.
_NAME_IN, _ITEMS_IN, _RIGHT_IN, _AREA_IN, _RISK_IN, _ERROR_IN = 1.85, 2.3, 2.95, 4.05, 4.55, 4.96


def findings_table(analysis: Analysis) -> Figure | None:
    """Return the questions and what the run says to each."""
    blocks = [
        (wrapped(one.question, LABEL_PT, _INNER_IN, bold=True), wrapped(one.answer, LABEL_PT, _INNER_IN))
        for one in findings(analysis)
    ]
    heights = [line_in(LABEL_PT) * (len(asked) + len(said)) + _GAP_IN for asked, said in blocks]
    frame = Frame(
        analysis,
        title="Findings",
        remark=f"{judged_by(analysis)}. Intervals are {level_of_intervals(analysis)}; shown means q < 0.05 after "
        "allowing for the number of tests.",
        body_in=sum(heights) + _GAP_IN,
    )
    top = 0.0
    for (asked, said), height in zip(blocks, heights, strict=True):
        frame.lines(asked, MARGIN_IN, top, LABEL_PT, bold=True)
        frame.lines(said, MARGIN_IN, top + line_in(LABEL_PT) * len(asked), LABEL_PT)
        top += height
    return frame.figure


def summary_sheet(analysis: Analysis) -> Figure | None:
    """Return the run on one sheet: what was run, what was best, and a row a trial."""
    cells = shown(analysis)
    lines = [line for one in _overview(analysis) for line in wrapped(one, LABEL_PT, _INNER_IN)]
    table_in = len(lines) * line_in(LABEL_PT) + 2 * _GAP_IN
    frame = Frame(
        analysis,
        title="The run on one sheet",
        body_in=table_in + 0.45 + _ROW_IN * len(cells) + _GAP_IN,
        notes=[
            f"AUROC and AURC (0 is best) of {judged_by(analysis)}; ECE of the first probability the run has. "
            f"Intervals are {level_of_intervals(analysis)}.",
            *why_not_plotted(cells),
        ],
    )
    frame.lines(lines, MARGIN_IN, 0, LABEL_PT)
    _heading(frame, table_in)
    for place, one in enumerate(cells):
        _row(frame, one, table_in + 0.45 + _ROW_IN * place)
    return frame.figure


def _overview(analysis: Analysis) -> list[str]:
    datasets = list(dict.fromkeys(dataset_title(trial.dataset) for trial in analysis.trials))
    models = models_in_order(analysis)
    best, measures = best_trials(analysis, 1), best_measures(analysis)
    said = [
        f"{counted(len(models), 'model')} on {listed(datasets)}: {counted(len(analysis.trials), 'trial')}, "
        f"{counted(sum(trial.n_items for trial in analysis.trials), 'answer')}.",
        f"Judged by {listed([label_title(one) for one in analysis.labels])}.",
    ]
    if best:
        (one,) = best
        said.append(
            f"Highest area: {one.model.name} on {dataset_title(one.dataset)}, {area(one.auroc)} "
            f"({area_interval(one.low, one.high)})."
        )
    if measures:
        first = measures[0]
        said.append(
            f"Highest mean of a measure: {measure_title(first.level)}, {area(first.mean)} "
            f"({area_interval(first.low, first.high)})."
        )
    return said


def _heading(frame: Frame, top_in: float) -> None:
    frame.lines(["model", "and data set"], MARGIN_IN, top_in, SMALL_PT, bold=True)
    for right, words in (
        (_ITEMS_IN, ["items"]),
        (_RIGHT_IN, ["right,", "%"]),
        (_AREA_IN, ["AUROC", "and interval"]),
        (_RISK_IN, ["AURC"]),
        (_ERROR_IN, ["ECE"]),
    ):
        frame.lines(words, MARGIN_IN + right, top_in, SMALL_PT, bold=True, align="right")
    _rule(frame, top_in + 0.38)


def _row(frame: Frame, one: Shown, top_in: float) -> None:
    ranking = one.ranking
    calibrations = one.label.calibrations if one.label else ()
    found = next((cal.reliability for cal in calibrations if cal.reliability), None) if ranking else None
    names = [one.trial.model.name, dataset_title(one.trial.dataset)]
    frame.lines([fitted(name, SMALL_PT, _NAME_IN) for name in names], MARGIN_IN, top_in, SMALL_PT)
    columns: Sequence[tuple[float, list[str]]] = (
        (_ITEMS_IN, [count(one.label.n_labelled if one.label else None)]),
        (_RIGHT_IN, [percent(one.label.accuracy if one.label else None)]),
        (
            _AREA_IN,
            [area(ranking.auroc), area_interval(ranking.delong.low, ranking.delong.high)]
            if ranking
            else ["not judged"],
        ),
        (_RISK_IN, [area(ranking.aurc if ranking else None)]),
        (_ERROR_IN, [area(found.ece if found else None)]),
    )
    for right, words in columns:
        frame.lines(words, MARGIN_IN + right, top_in, SMALL_PT, align="right")


def _rule(frame: Frame, top_in: float) -> None:
    y = frame.from_top(top_in)
    frame.figure.add_artist(
        Line2D(
            [MARGIN_IN / WIDTH_IN, 1 - MARGIN_IN / WIDTH_IN],
            [y, y],
            color="#bbbbbb",
            linewidth=0.8,
            transform=frame.figure.transFigure,
        )
    )
