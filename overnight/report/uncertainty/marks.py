"""What several figures draw alike: the order of models, their signs, an area with its interval, the line of chance."""

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from overnight.report.drawing import GREY
from overnight.report.uncertainty.best import Shown
from overnight.report.uncertainty.frame import (
    MARGIN_IN,
    SMALL_PT,
    STYLES,
    Frame,
    Style,
    fitted,
    line_in,
    unmathed,
)
from overnight.report.uncertainty.naming import dataset_title, label_title, measure_title
from overnight.stats.model_cells import ModelFacts
from overnight.uncertainty.analysis import Analysis

CHANCE = 0.5
_ROOM = 0.03  # between the last interval and the end of an axis


def models_in_order(analysis: Analysis) -> list[ModelFacts]:
    """Return the models by family, size, kind and bits."""
    models = {trial.model.name: trial.model for trial in analysis.trials}
    return sorted(
        models.values(),
        key=lambda one: (one.family, one.parameters, one.is_instruct, -one.bits_per_weight, one.name),
    )


def datasets_in_order(analysis: Analysis) -> list[str]:
    """Return the data sets in the order of the trials."""
    return list(dict.fromkeys(trial.dataset for trial in analysis.trials))


def styles(names: Iterable[str]) -> dict[str, Style]:
    """Return a sign for each name; they repeat after all colours and dashes are used up."""
    return {name: STYLES[place % len(STYLES)] for place, name in enumerate(dict.fromkeys(names))}


def sign(style: Style, label: str, *, line: bool = False) -> Line2D:
    """Return a sign for a legend."""
    color, marker, dash = style
    return Line2D(
        [],
        [],
        color=color,
        marker=marker,
        markersize=5.5,
        linewidth=1.6,
        linestyle=dash if line else "",
        label=unmathed(label),
    )


def judged_by(analysis: Analysis) -> str:
    """Return what is shown of each trial."""
    return f"{measure_title(analysis.measure)} (right: {label_title(analysis.label)})"


def level_of_intervals(analysis: Analysis) -> str:
    """Return how wide intervals are."""
    return f"{100 * analysis.settings.confidence:g}\u00a0%"


def why_not_plotted(cells: Sequence[Shown]) -> list[str]:
    """Return a line for each trial that no figure shows."""
    return [
        f"Not judged: {one.trial.model.name} on {dataset_title(one.trial.dataset)}: {one.why_not}."
        for one in cells
        if one.why_not
    ]


def draw_interval(
    axes: Axes,
    x: float,
    y: float,
    bounds: tuple[float | None, float | None],
    style: Style,
    *,
    across: bool = True,
) -> None:
    """Draw a value with its bounds, along x or, where not across, along y."""
    color, marker, _ = style
    low, high = bounds
    if low is not None and high is not None:
        ends = ([low, high], [y, y]) if across else ([x, x], [low, high])
        axes.plot(*ends, color=color, linewidth=1.6, solid_capstyle="butt", zorder=2)
    axes.plot(
        [x], [y], marker, color=color, markersize=5.5, markeredgecolor="white", markeredgewidth=0.6, zorder=3
    )


def draw_chance(axes: Axes, *, across: bool = True) -> None:
    """Draw the line of chance: upright where areas run across, else level."""
    line = axes.axvline if across else axes.axhline
    line(CHANCE, color=GREY, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)


def area_limits(values: Iterable[float | None]) -> tuple[float, float]:
    """Return the ends of an axis that holds all these areas and chance."""
    found = [CHANCE, *(value for value in values if value is not None)]
    return max(0.0, min(found) - _ROOM), min(1.0, max(found) + _ROOM)


def draw_row_names(
    frame: Frame, names: Sequence[tuple[str, ...]], top_in: float, row_in: float, width_in: float
) -> None:
    """Write the lines of each row at the left end of the body: what it is, and more about it in grey."""
    for place, lines in enumerate(names):
        start = top_in + (place + 0.5) * row_in - line_in(SMALL_PT) * len(lines) / 2
        name, *more = (fitted(line, SMALL_PT, width_in) for line in lines)
        frame.lines([name], MARGIN_IN, start, SMALL_PT)
        frame.lines(more, MARGIN_IN, start + line_in(SMALL_PT), SMALL_PT, color="#666666")
