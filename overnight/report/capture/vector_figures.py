"""Figures of the vectors of a model: what they are worth by layer, and how alike they are."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D

from overnight.captures.prompt import layer_and_sublayer
from overnight.captures.validity import PointValidity, TraitValidity
from overnight.report.capture.findings import captured_worths
from overnight.report.capture.prompt_figures import AROUND_ZERO, draw_undefined
from overnight.report.capture.results import CapturedModel
from overnight.report.drawing import BLUE, GREY, TEXT, VERMILION
from overnight.report.text import visible
from overnight.report.uncertainty.frame import MARGIN_IN, SMALL_PT, WIDTH_IN, Frame, NamedRun, fitted, text_in
from overnight.report.wording import decimal, percent

_PANEL_IN, _GAP_IN, _LEFT_IN = 0.95, 0.5, 0.5
_CELL_IN, _NAMES_IN = 0.52, 1.5
_DARK = 0.5
_MEAN_OF_CHANCE = "#d0d0d0"


def validity_figure(named: NamedRun, model: CapturedModel) -> Frame | None:
    """Return the held-out accuracy of each trait by layer, against what chance reaches; None where nothing is known."""
    worths = captured_worths(model)
    if not worths:
        return None
    undefined = [one.trait for one in worths if any(each.held_out.accuracy is None for each in _own(one))]
    frame = Frame(
        named,
        title=f"Do the vectors tell held-out texts apart? {visible(model.name)}",
        remark="Share of held-out texts on the right side, by layer. The band goes from the mean of chance to what one "
        "draw in twenty reaches, of permuted labels or random directions, the higher of the two.",
        body_in=(_PANEL_IN + _GAP_IN) * len(worths) + 0.12,
        legend=[
            Line2D([], [], color=BLUE, marker="o", markersize=3.5, linewidth=1.4, label="held-out accuracy"),
            Line2D([], [], color=VERMILION, marker="D", markersize=6, linestyle="", label="chosen layer"),
            Line2D([], [], color=_MEAN_OF_CHANCE, linewidth=7, label="chance"),
        ],
        notes=[
            f"Undefined at some layers, which are hatched: {', '.join(map(visible, undefined))}."
            if undefined
            else "",
            "The chosen layer was chosen by these numbers, so its own is a bit too good; the table has the nested one.",
        ],
    )
    width_in = WIDTH_IN - 2 * MARGIN_IN - _LEFT_IN
    for number, one in enumerate(worths):
        top_in = number * (_PANEL_IN + _GAP_IN)
        said = {True: "better than chance", False: "not better than chance", None: "not held against chance"}
        title = f"{visible(one.trait)}: {said[one.is_better_than_null]}"
        frame.lines([fitted(title, SMALL_PT, width_in + _LEFT_IN)], MARGIN_IN, top_in, SMALL_PT, bold=True)
        axes = frame.axes(MARGIN_IN + _LEFT_IN, top_in + 0.22, width_in, _PANEL_IN)
        _draw_worth(axes, one, is_last=number == len(worths) - 1)
    return frame


def _own(one: TraitValidity) -> list[PointValidity]:
    """Return the points of the component that was chosen, by layer."""
    component = layer_and_sublayer(one.chosen)[1]
    own = [each for each in one.points if layer_and_sublayer(each.point)[1] == component]
    return sorted(own, key=lambda each: layer_and_sublayer(each.point)[0])


def _draw_worth(axes: Axes, one: TraitValidity, *, is_last: bool) -> None:
    own = _own(one)
    layers = [layer_and_sublayer(each.point)[0] for each in own]
    low = np.array([np.nan if each.null_mean is None else each.null_mean for each in own])
    high = np.array([np.nan if each.null_p95 is None else each.null_p95 for each in own])
    found = np.array([np.nan if each.held_out.accuracy is None else each.held_out.accuracy for each in own])
    axes.fill_between(layers, low, np.fmax(low, high), color=_MEAN_OF_CHANCE, linewidth=0, step=None)
    axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.plot(layers, found, color=BLUE, marker="o", markersize=3, linewidth=1.4)
    for layer, value in zip(layers, found, strict=True):
        if np.isnan(value):
            axes.axvspan(
                layer - 0.5, layer + 0.5, facecolor="#eeeeee", edgecolor="#999999", hatch="////", linewidth=0
            )
    chosen = layer_and_sublayer(one.chosen)[0]
    accuracy = one.at_chosen.held_out.accuracy
    if accuracy is not None:
        axes.plot([chosen], [accuracy], "D", color=VERMILION, markersize=6, markeredgecolor="white", zorder=4)
    known = [value for value in (*found, *low, *high) if np.isfinite(value)]
    floor = min([0.4, *known]) - 0.04
    axes.set_ylim(floor, 1.04)
    axes.set_xlim(min(layers) - 0.5, max(layers) + 0.5)
    ticks = [0.5, 0.75, 1.0]
    axes.set_yticks(ticks, [f"{percent(tick, 0)} %" for tick in ticks])
    if is_last:
        axes.set_xlabel("layer", fontsize=SMALL_PT, color=TEXT, labelpad=1)


def superposition_figure(named: NamedRun, model: CapturedModel) -> Frame | None:
    """Return the cosines between the vectors as a matrix; None where there is none."""
    alike = model.superposition
    if alike is None or not alike.traits:
        return None
    n_traits = len(alike.traits)
    cosines = np.array([[np.nan if value is None else value for value in row] for row in alike.cosines])
    cell_in = max(_CELL_IN, min(0.7, (WIDTH_IN - 2 * MARGIN_IN - _NAMES_IN) / n_traits))
    side_in = cell_in * n_traits
    names = [fitted(visible(trait), SMALL_PT, _NAMES_IN - 0.15) for trait in alike.traits]
    head_in = max(text_in(name, SMALL_PT) for name in names) + 0.14
    frame = Frame(
        named,
        title=f"How alike are the vectors? {visible(model.name)}",
        remark="Cosines: 1 the same direction, 0 nothing in common, \u22121 opposite.",
        body_in=head_in + side_in + 0.1,
        notes=["Hatched: a vector without a length."] if np.isnan(cosines).any() else [],
        width_in=max(WIDTH_IN, _NAMES_IN + side_in + 2 * MARGIN_IN),
    )
    axes = frame.axes(MARGIN_IN + _NAMES_IN, head_in, side_in, side_in)
    edges = (np.arange(n_traits + 1) - 0.5,) * 2
    scale = Normalize(-1, 1)
    axes.pcolormesh(
        *edges, np.ma.masked_invalid(cosines), cmap=AROUND_ZERO, norm=scale, edgecolors="white", linewidth=1.5
    )
    draw_undefined(axes, np.isnan(cosines), edges)
    axes.invert_yaxis()
    for row in range(n_traits):
        for column in range(n_traits):
            value = cosines[row, column]
            if np.isnan(value):
                continue
            color = AROUND_ZERO(scale(value))
            light = sum(weight * part for weight, part in zip((0.3, 0.59, 0.11), color, strict=False))
            axes.text(
                column,
                row,
                decimal(float(value), 2),
                ha="center",
                va="center",
                fontsize=SMALL_PT,
                color="white" if light < _DARK else TEXT,
            )
    axes.set_yticks(range(n_traits), names)
    axes.set_xticks(range(n_traits), names, rotation=90)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=SMALL_PT)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)
    return frame
