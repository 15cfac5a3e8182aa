"""Figures of a run for slides and papers, as PNG and PDF; the same numbers as in the tables.

No difference is told by colour alone.
"""

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from overnight.report.drawing import BLUE, GREY, TEXT, VERMILION, remove_figure, save_figure
from overnight.report.forest import CONDUCT, Panel, axis_limit, panels
from overnight.report.results import RunReport
from overnight.report.wording import confidence, shortened, tick
from overnight.store.run_folder import RunFolder

NAMES = ("differences", "accuracy", "abstention")
_CONTROL, _TREATMENT = VERMILION, BLUE
_ROW_IN, _PANEL_IN, _HEAD_IN, _FOOT_IN = 0.26, 2.5, 0.75, 0.95
_CHAR_IN = 0.078  # the width of a letter of a label
_LONGEST_LABEL = 60


def write_figures(folder: RunFolder, run: RunReport) -> None:
    """Write every figure, or take away those of before where there is nothing to draw."""
    shown, conduct = panels(run), panels(run, CONDUCT)
    legend = _differences_legend(run)
    _write(folder, "differences", shown, lambda: _draw(run, shown, _differences(axis_limit(shown)), legend))
    _write(folder, "accuracy", shown, lambda: _draw(run, shown, _accuracy, _accuracy_legend()))
    _write(
        folder, "abstention", conduct, lambda: _draw(run, conduct, _differences(axis_limit(conduct)), legend)
    )


def _write(folder: RunFolder, name: str, shown: tuple[Panel, ...], draw: Callable[[], Figure]) -> None:
    if shown:
        save_figure(folder.figures, name, draw())
    else:
        remove_figure(folder.figures, name)


def _draw(
    run: RunReport,
    shown: tuple[Panel, ...],
    draw: Callable[[Axes, Panel, list[str]], None],
    legend: list[Line2D],
) -> Figure:
    """Return a row of panels that share their labels; what a panel lacks leaves its row empty."""
    labels = list(dict.fromkeys(line.label for panel in shown for line in panel.lines))
    left_in = 0.3 + _CHAR_IN * min(_LONGEST_LABEL, max(map(len, labels)))
    width = left_in + _PANEL_IN * len(shown) + 0.2
    height = _HEAD_IN + _ROW_IN * (len(labels) + 1) + _FOOT_IN
    figure = Figure(figsize=(width, height), facecolor="white")
    bottom, axes_height = _FOOT_IN / height, _ROW_IN * (len(labels) + 1) / height
    for index, panel in enumerate(shown):
        axes = figure.add_axes(
            ((left_in + _PANEL_IN * index) / width, bottom, (_PANEL_IN - 0.25) / width, axes_height)
        )
        draw(axes, panel, labels)
        _dress(axes, panel, labels, is_first=index == 0)
    title = f"{run.name}, run {run.run_id}" + (" (DRY RUN, synthetic answers)" if run.is_dry_run else "")
    figure.text(
        0.1 / width, 1 - 0.22 / height, title, fontsize=11, weight="bold", color=TEXT, parse_math=False
    )
    figure.legend(
        handles=legend,
        loc="lower left",
        bbox_to_anchor=(0.05 / width, 0.02 / height),
        ncols=len(legend),
        frameon=False,
        fontsize=8.5,
    )
    return figure


def _dress(axes: Axes, panel: Panel, labels: list[str], *, is_first: bool) -> None:
    axes.set_title(panel.title, fontsize=9.5, color=TEXT, loc="left")
    axes.set_ylim(len(labels) - 0.5 + 0.25, -0.75)
    shown = [shortened(label, _LONGEST_LABEL) for label in labels]
    axes.set_yticks(range(len(labels)), shown if is_first else [""] * len(labels), fontsize=8.5)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8.5)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _differences(limit: float) -> Callable[[Axes, Panel, list[str]], None]:
    ends = [fraction * limit for fraction in (-1, -0.5, 0, 0.5, 1)]

    def draw(axes: Axes, panel: Panel, labels: list[str]) -> None:
        axes.axvline(0, color=GREY, linewidth=1)
        for line in panel.lines:
            row, y = line.row, labels.index(line.label)
            if row.delta is None:
                continue
            if row.ci_low is not None and row.ci_high is not None:
                axes.plot(
                    [row.ci_low, row.ci_high], [y, y], color=_TREATMENT, linewidth=1.6, solid_capstyle="butt"
                )
            face = _TREATMENT if row.is_shown else "white"
            axes.plot([row.delta], [y], "o", color=_TREATMENT, markerfacecolor=face, markersize=5.5)
        axes.set_xlim(-1.06 * limit, 1.06 * limit)
        axes.set_xticks(ends, [tick(end) for end in ends])
        axes.set_xlabel("treatment \u2212 control, points", fontsize=8.5)

    return draw


def _differences_legend(run: RunReport) -> list[Line2D]:
    level = confidence(run.trials)
    return [
        _mark(_TREATMENT, f"q < 0.05, {level} interval"),
        _mark("white", f"q \u2265 0.05 or not tested, {level} interval"),
    ]


def _mark(face: str, label: str) -> Line2D:
    return Line2D(
        [], [], color=_TREATMENT, marker="o", markersize=5.5, linewidth=1.6, markerfacecolor=face, label=label
    )


def _accuracy(axes: Axes, panel: Panel, labels: list[str]) -> None:
    for line in panel.lines:
        control, treatment, y = line.row.mean_control, line.row.mean_treatment, labels.index(line.label)
        if control is None or treatment is None:
            continue
        axes.plot([control, treatment], [y, y], color=GREY, linewidth=1.2)
        axes.plot([control], [y], "s", color=_CONTROL, markerfacecolor="white", markersize=6.5)
        axes.plot([treatment], [y], "o", color=_TREATMENT, markersize=4.5)
    axes.set_xlim(-0.04, 1.04)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    axes.set_xlabel("mean, %", fontsize=8.5)


def _accuracy_legend() -> list[Line2D]:
    return [
        Line2D(
            [], [], color=_CONTROL, marker="s", markerfacecolor="white", linestyle="none", label="control"
        ),
        Line2D([], [], color=_TREATMENT, marker="o", linestyle="none", label="treatment"),
    ]
