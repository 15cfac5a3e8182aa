"""The heat map: every model on every data set."""

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from overnight.report.drawing import BLUE, TEXT, VERMILION
from overnight.report.uncertainty.best import Shown, shown
from overnight.report.uncertainty.frame import (
    LABEL_PT,
    MARGIN_IN,
    SMALL_PT,
    WIDTH_IN,
    Frame,
    line_in,
    wrapped,
)
from overnight.report.uncertainty.marks import (
    CHANCE,
    datasets_in_order,
    draw_row_names,
    judged_by,
    level_of_intervals,
    models_in_order,
    why_not_plotted,
)
from overnight.report.uncertainty.naming import area, area_interval, dataset_title, model_facts
from overnight.uncertainty.analysis import Analysis

_NAMES_IN, _ROW_IN = 2.1, 0.44
_COLUMN_IN = 1.05  # at least
_REACH = 0.2  # at least, of the colours around chance
_AROUND_CHANCE = LinearSegmentedColormap.from_list("around chance", [VERMILION, "#ffffff", BLUE])


def heat_map(analysis: Analysis) -> Figure | None:
    """Return the AUROC of every model on every data set."""
    cells = {(one.trial.model.name, one.trial.dataset): one for one in shown(analysis)}
    areas = [one.ranking.auroc for one in cells.values() if one.ranking]
    if not areas:
        return None
    models, datasets = models_in_order(analysis), datasets_in_order(analysis)
    column_in = max(_COLUMN_IN, (WIDTH_IN - 2 * MARGIN_IN - _NAMES_IN) / len(datasets))
    reach = max([_REACH, *(abs(value - CHANCE) for value in areas)])
    scale = Normalize(CHANCE - reach, CHANCE + reach)
    rows_in = _ROW_IN * len(models)
    width_in = _NAMES_IN + column_in * len(datasets) + 2 * MARGIN_IN
    headings = [wrapped(dataset_title(one), LABEL_PT, column_in - 0.1) for one in datasets]
    head_in = max(map(len, headings)) * line_in(LABEL_PT) + 0.08
    frame = Frame(
        analysis,
        title="How well does each model know when it is wrong?",
        remark=f"AUROC of {judged_by(analysis)}. Below each area its {level_of_intervals(analysis)} interval (DeLong); "
        "0.5 is chance.",
        body_in=head_in + rows_in + 0.7,
        notes=why_not_plotted(list(cells.values())),
        width_in=width_in,
    )
    draw_row_names(frame, [(one.name, model_facts(one)) for one in models], head_in, _ROW_IN, _NAMES_IN - 0.1)
    for place, lines in enumerate(headings):
        middle = MARGIN_IN + _NAMES_IN + (place + 0.5) * column_in
        frame.lines(lines, middle, head_in - 0.08 - len(lines) * line_in(LABEL_PT), LABEL_PT, align="center")
    axes = frame.axes(MARGIN_IN + _NAMES_IN, head_in, column_in * len(datasets), rows_in)
    axes.set_xlim(0, len(datasets))
    axes.set_ylim(len(models), 0)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    for row, model in enumerate(models):
        for column, dataset in enumerate(datasets):
            _heat_cell(axes, column, row, cells.get((model.name, dataset)), scale)
    _color_bar(frame, head_in + rows_in + 0.12, scale)
    return frame.figure


def _heat_cell(axes: Axes, column: int, row: int, cell: Shown | None, scale: Normalize) -> None:
    ranking = cell.ranking if cell else None
    middle = column + 0.5
    if ranking is None:
        axes.add_patch(
            Rectangle(
                (column, row), 1, 1, facecolor="#eeeeee", hatch="////", linewidth=1.5, edgecolor="white"
            )
        )
        kind = cell.result.discrimination.degeneracy if cell and cell.result else None
        said = kind.value.replace("_", " ") if kind else "not run"
        axes.text(
            middle,
            row + 0.5,
            said,
            ha="center",
            va="center",
            fontsize=SMALL_PT,
            color=TEXT,
            bbox={"facecolor": "#eeeeee", "edgecolor": "none", "pad": 1.5},
        )
        return
    color = _AROUND_CHANCE(scale(ranking.auroc))
    axes.add_patch(Rectangle((column, row), 1, 1, facecolor=color, linewidth=1.5, edgecolor="white"))
    ink = (
        "white"
        if sum(weight * part for weight, part in zip((0.3, 0.59, 0.11), color, strict=False)) < CHANCE
        else TEXT
    )
    axes.text(
        middle,
        row + 0.34,
        area(ranking.auroc),
        ha="center",
        va="center",
        fontsize=10,
        weight="bold",
        color=ink,
    )
    bounds = area_interval(ranking.delong.low, ranking.delong.high)
    axes.text(middle, row + 0.72, bounds, ha="center", va="center", fontsize=SMALL_PT, color=ink)


def _color_bar(frame: Frame, top_in: float, scale: Normalize) -> None:
    axes = frame.axes(MARGIN_IN + _NAMES_IN, top_in, frame.width_in - _NAMES_IN - 2 * MARGIN_IN, 0.12)
    low, high = float(scale.vmin or 0.0), float(scale.vmax or 1.0)
    axes.imshow([list(range(256))], aspect="auto", extent=(low, high, 0, 1), cmap=_AROUND_CHANCE)
    axes.set_yticks([])
    axes.set_xticks([low, CHANCE, high], [f"{low:.2f}\nmisleads", "0.5\nchance", f"{high:.2f}\nknows"])
    axes.tick_params(length=0, labelsize=SMALL_PT)
    first, _, last = axes.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
    for spine in axes.spines.values():
        spine.set_visible(False)
