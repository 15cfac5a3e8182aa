"""The figure of groups: each trait over the replies of each group of prompts, every prompt a point."""

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from overnight.report.capture.naming import quantities
from overnight.report.capture.results import CapturedModel, CaptureReport, ShownTrait
from overnight.report.drawing import BLUE, GREY, VERMILION
from overnight.report.text import visible
from overnight.report.uncertainty.frame import MARGIN_IN, SMALL_PT, WIDTH_IN, Frame, fitted
from overnight.report.wording import counted

_ROW_IN, _NAMES_IN, _GAP_IN, _AXIS_IN = 0.24, 1.5, 0.24, 0.26


def group_figure(report: CaptureReport, model: CapturedModel) -> Frame | None:
    """Return the mean of each trait over the replies of each group; None where nothing was captured."""
    groups = [
        group
        for group in report.groups(model.name)
        if any(one.error is None for one in report.prompts if (one.model, one.group) == (model.name, group))
    ]
    if not groups or not model.traits:
        return None
    panel_in = _ROW_IN * len(groups) + _AXIS_IN + _GAP_IN
    undefined = [
        f"{visible(shown.trait)} in {visible(group)} ({counted(cell.n_undefined, 'prompt')})"
        for shown in model.traits
        for group in groups
        if (cell := report.cell(model.name, group, shown.trait)).n_undefined
    ]
    frame = Frame(
        report,
        title=f"Which groups of prompts show which trait? {visible(model.name)}",
        remark=f"Mean {quantities(model)} over the tokens of a reply, at the layer that stands for the trait. Each "
        "trait has a scale of its own; the dashed line is 0.",
        body_in=panel_in * len(model.traits),
        legend=[
            Line2D(
                [],
                [],
                color=BLUE,
                marker="o",
                markerfacecolor="none",
                linestyle="",
                markersize=5,
                label="a prompt",
            ),
            Line2D(
                [], [], color=VERMILION, marker="D", linestyle="", markersize=6, label="mean of the group"
            ),
        ],
        notes=[f"Undefined, hatched where no prompt has a value: {', '.join(undefined)}."]
        if undefined
        else [],
    )
    for number, shown in enumerate(model.traits):
        top_in = number * panel_in
        title = f"{visible(shown.trait)}, layer {shown.point.partition('.')[0]}"
        frame.lines([fitted(title, SMALL_PT, frame.inner_in)], MARGIN_IN, top_in, SMALL_PT, bold=True)
        for row, group in enumerate(groups):
            text = fitted(visible(group), SMALL_PT, _NAMES_IN - 0.1)
            frame.lines([text], MARGIN_IN, top_in + _GAP_IN + (row + 0.5) * _ROW_IN - 0.08, SMALL_PT)
        axes = frame.axes(
            MARGIN_IN + _NAMES_IN,
            top_in + _GAP_IN,
            WIDTH_IN - 2 * MARGIN_IN - _NAMES_IN,
            _ROW_IN * len(groups),
        )
        _draw(axes, report, model, shown, groups)
    return frame


def _draw(
    axes: Axes, report: CaptureReport, model: CapturedModel, shown: ShownTrait, groups: list[str]
) -> None:
    axes.axvline(0, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
    for row, group in enumerate(groups):
        cell = report.cell(model.name, group, shown.trait)
        if cell.mean is None:
            axes.axhspan(
                row - 0.5, row + 0.5, facecolor="#eeeeee", edgecolor="#999999", hatch="////", linewidth=0
            )
            axes.text(
                0.5,
                row,
                "undefined",
                transform=axes.get_yaxis_transform(),
                ha="center",
                va="center",
                fontsize=SMALL_PT,
                bbox={"facecolor": "#eeeeee", "edgecolor": "none", "pad": 1},
            )
            continue
        axes.plot(
            cell.values, [row] * len(cell.values), "o", color=BLUE, markerfacecolor="none", markersize=5
        )
        axes.plot([cell.mean], [row], "D", color=VERMILION, markersize=6, markeredgecolor="white", zorder=3)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_yticks([])
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.margins(x=0.06)
    axes.spines["left"].set_visible(False)
