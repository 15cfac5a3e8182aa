"""Figures of all trials: accuracy beside AUROC, profiles, and the best."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from overnight.report.drawing import BLUE, GREY
from overnight.report.uncertainty.best import Shown, best_measures, best_trials, shown
from overnight.report.uncertainty.frame import (
    LABEL_PT,
    MARGIN_IN,
    SMALL_PT,
    WIDTH_IN,
    Frame,
    Style,
)
from overnight.report.uncertainty.marks import (
    area_limits,
    datasets_in_order,
    draw_chance,
    draw_interval,
    draw_row_names,
    judged_by,
    level_of_intervals,
    models_in_order,
    sign,
    styles,
    why_not_plotted,
)
from overnight.report.uncertainty.naming import (
    dataset_title,
    measure_title,
)
from overnight.uncertainty.analysis import Analysis

_NAMES_IN = 2.1  # for the names of models
_ROW_IN, _MEASURE_ROW_IN = 0.4, 0.26
_MOST_TRIALS = 10


def profiles(analysis: Analysis) -> Figure | None:
    """Return several qualities of each trial side by side, each as it is: nothing is stretched to fill an axis."""
    cells = [one for one in shown(analysis) if one.ranking]
    if not cells:
        return None
    datasets = [
        name for name in datasets_in_order(analysis) if any(one.trial.dataset == name for one in cells)
    ]
    of_model = styles(one.name for one in models_in_order(analysis))
    panel_in = 2.1
    title = next(
        (one.title for cell in cells for one in (cell.label.calibrations if cell.label else ())), None
    )
    probability = f" ECE and Brier score: {title}." if title else ""
    frame = Frame(
        analysis,
        title="Profiles of the models",
        remark=f"Each axis runs from 0 to 1 and up is better. AUROC and AURC: {judged_by(analysis)}.{probability}",
        body_in=panel_in * len(datasets),
        legend=[
            sign(of_model[one.name], one.name, line=True)
            for one in models_in_order(analysis)
            if any(cell.trial.model.name == one.name for cell in cells)
        ],
        notes=why_not_plotted(shown(analysis)),
    )
    for place, dataset in enumerate(datasets):
        top = panel_in * place
        frame.lines([dataset_title(dataset)], MARGIN_IN, top, LABEL_PT, bold=True)
        axes = frame.axes(0.5, top + 0.28, WIDTH_IN - 0.9, panel_in - 0.75)
        _profile_panel(axes, [one for one in cells if one.trial.dataset == dataset], of_model)
    return frame.figure


def best_performers(analysis: Analysis) -> Figure | None:
    """Return the trials and the measures with the highest areas, with their intervals."""
    trials, measures = best_trials(analysis, _MOST_TRIALS), best_measures(analysis)
    if not trials:
        return None
    trials_in, measures_in = _ROW_IN * len(trials), _MEASURE_ROW_IN * len(measures)
    frame = Frame(
        analysis,
        title="The highest areas, and how sure they are",
        remark=f"AUROC with {level_of_intervals(analysis)} intervals; dashed: chance. The first of many is first by "
        "luck too: where intervals overlap, the order may be another one next time.",
        body_in=0.28 + trials_in + 0.75 + measures_in + 0.45,
    )
    frame.lines(
        [f"By {measure_title(analysis.measure)}: model and data set"], MARGIN_IN, 0, LABEL_PT, bold=True
    )
    rows = [(one.model.name, dataset_title(one.dataset)) for one in trials]
    draw_row_names(frame, rows, 0.28, _ROW_IN, _NAMES_IN - 0.1)
    values = [(one.auroc, one.low, one.high) for one in trials]
    means = [(one.mean or 0.0, one.low, one.high) for one in measures]
    limits = area_limits(value for row in (*values, *means) for value in row)
    _ranked(frame.axes(_NAMES_IN + MARGIN_IN, 0.28, WIDTH_IN - _NAMES_IN - 0.4, trials_in), values, limits)

    top = 0.28 + trials_in + 0.45
    frame.lines(["Mean over all trials: measure"], MARGIN_IN, top, LABEL_PT, bold=True)
    names = [(f"{measure_title(one.level)} ({one.n_cells})",) for one in measures]
    draw_row_names(frame, names, top + 0.28, _MEASURE_ROW_IN, _NAMES_IN - 0.1)
    axes = frame.axes(_NAMES_IN + MARGIN_IN, top + 0.28, WIDTH_IN - _NAMES_IN - 0.4, measures_in)
    _ranked(axes, means, limits)
    axes.set_xlabel("AUROC; in brackets: trials in the mean", fontsize=SMALL_PT)
    return frame.figure


def _profile_panel(axes: Axes, cells: Sequence[Shown], of_model: dict[str, Style]) -> None:
    words = ("accuracy", "AUROC", "1 \u2212 AURC", "1 \u2212 ECE", "1 \u2212 Brier")
    for one in cells:
        ranking = one.ranking
        if one.label is None or ranking is None:
            continue
        found = next((cal.reliability for cal in one.label.calibrations if cal.reliability), None)
        values = [
            one.label.accuracy,
            ranking.auroc,
            1 - ranking.aurc,
            1 - found.ece if found else None,
            1 - found.brier if found else None,
        ]
        known = [(place, value) for place, value in enumerate(values) if value is not None]
        color, marker, dash = of_model[one.trial.model.name]
        axes.plot(
            *zip(*known, strict=True), color=color, marker=marker, linestyle=dash, markersize=5, linewidth=1.4
        )
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.set_xlim(-0.25, len(words) - 0.75)
    axes.set_xticks(range(len(words)), words, fontsize=SMALL_PT)
    axes.grid(axis="x", color=GREY, linewidth=0.8)
    axes.grid(axis="y", color="#eeeeee", linewidth=0.6)


def _ranked(
    axes: Axes, values: Sequence[tuple[float, float | None, float | None]], limits: tuple[float, float]
) -> None:
    draw_chance(axes)
    for row, (value, low, high) in enumerate(values):
        draw_interval(axes, value, row, (low, high), (BLUE, "o", "-"))
    axes.set_xlim(*limits)
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
