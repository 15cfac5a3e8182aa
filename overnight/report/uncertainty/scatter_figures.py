"""Figures of areas over a quantity, a panel a data set: over accuracy, and over size."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from overnight.report.uncertainty.best import Shown, shown
from overnight.report.uncertainty.frame import LABEL_PT, MARGIN_IN, SMALL_PT, WIDTH_IN, Frame, Style
from overnight.report.uncertainty.marks import (
    area_limits,
    datasets_in_order,
    draw_chance,
    draw_interval,
    judged_by,
    level_of_intervals,
    models_in_order,
    sign,
    styles,
    why_not_plotted,
)
from overnight.report.uncertainty.naming import dataset_title, parameters
from overnight.stats.model_cells import SAME_SIZE_WITHIN
from overnight.uncertainty.analysis import Analysis

_PANEL_IN, _PLOT_IN, _LEFT_IN = 2.55, 1.75, 0.62
_WIDE_IN = WIDTH_IN - _LEFT_IN - 2 * MARGIN_IN
_ROOM = 0.25  # beyond the smallest and the largest size, in factors of ten
_APART_IN = 0.12  # points of one size
_WORD_IN = 0.55  # sizes nearer than this do not have a word each
Draw = Callable[[Axes, Sequence[Shown]], None]


def accuracy_and_auroc(analysis: Analysis) -> Figure | None:
    """Return how often models are right beside how well they know it: two things, without a diagonal."""
    of_model = styles(one.name for one in models_in_order(analysis))

    def draw(axes: Axes, cells: Sequence[Shown]) -> None:
        for one in cells:
            if one.ranking is None or one.label is None or one.label.accuracy is None:
                continue
            point, style = (one.label.accuracy, one.ranking.auroc), of_model[one.trial.model.name]
            draw_interval(axes, *point, (one.label.accuracy_low, one.label.accuracy_high), style)
            draw_interval(
                axes, *point, (one.ranking.delong.low, one.ranking.delong.high), style, across=False
            )
        axes.set_xlim(-0.02, 1.02)

    return _panels(
        analysis,
        draw,
        title="Being right, and knowing when one is wrong",
        remark=f"Accuracy beside the AUROC of {judged_by(analysis)}. Lines are {level_of_intervals(analysis)} "
        "intervals. Neither axis says whether probabilities are calibrated.",
        across="accuracy: share of right answers",
        legend=lambda cells: [
            sign(of_model[name], name)
            for name in of_model
            if any(one.trial.model.name == name for one in cells)
        ],
    )


def size_effect(analysis: Analysis) -> Figure | None:
    """Return areas over the number of parameters; lines join what differs in size alone."""
    of_family = styles(one.family for one in models_in_order(analysis))
    axis = _SizeAxis(sorted({one.trial.model.parameters for one in shown(analysis) if one.ranking}))

    def draw(axes: Axes, cells: Sequence[Shown]) -> None:
        _draw_sizes(axes, cells, of_family, axis)
        axis.dress(axes)

    return _panels(
        analysis,
        draw,
        title="Size",
        remark=f"AUROC of {judged_by(analysis)}, with {level_of_intervals(analysis)} intervals, over the number of "
        "parameters, in factors of ten; models of about one size stand side by side. Lines join models that differ "
        "in size alone.",
        across="parameters",
        legend=lambda cells: [
            sign(of_family[name], name)
            for name in of_family
            if any(one.trial.model.family == name for one in cells)
        ],
    )


def _panels(
    analysis: Analysis,
    draw: Draw,
    *,
    title: str,
    remark: str,
    across: str,
    legend: Callable[[Sequence[Shown]], list[Line2D]],
) -> Figure | None:
    cells = [one for one in shown(analysis) if one.ranking]
    if not cells:
        return None
    drawn = {one.trial.dataset for one in cells}
    datasets = [name for name in datasets_in_order(analysis) if name in drawn]
    limits = area_limits(
        value
        for one in cells
        if one.ranking
        for value in (one.ranking.auroc, one.ranking.delong.low, one.ranking.delong.high)
    )
    frame = Frame(
        analysis,
        title=title,
        remark=remark,
        body_in=_PANEL_IN * len(datasets),
        legend=legend(cells),
        notes=why_not_plotted(shown(analysis)),
    )
    for place, dataset in enumerate(datasets):
        top = _PANEL_IN * place
        frame.lines([dataset_title(dataset)], MARGIN_IN, top, LABEL_PT, bold=True)
        axes = frame.axes(_LEFT_IN, top + 0.25, _WIDE_IN, _PLOT_IN)
        draw_chance(axes, across=False)
        draw(axes, [one for one in cells if one.trial.dataset == dataset])
        axes.set_ylim(*limits)
        axes.set_xlabel(across, fontsize=LABEL_PT)
        axes.set_ylabel("AUROC (dashed: chance)", fontsize=SMALL_PT)
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    return frame.figure


class _SizeAxis:
    """Sizes in factors of ten; those that count as one are one place."""

    def __init__(self, sizes: Sequence[float]) -> None:
        groups: list[list[float]] = []
        for size in sizes:
            if groups and size <= SAME_SIZE_WITHIN * groups[-1][-1]:
                groups[-1].append(size)
            else:
                groups.append([size])
        self._words = {math.sqrt(group[0] * group[-1]): _range(group[0], group[-1]) for group in groups}
        self.place_of = {
            size: place for group, place in zip(groups, self._words, strict=True) for size in group
        }
        places = list(self._words)
        self._ends = (places[0] / 10**_ROOM, places[-1] * 10**_ROOM) if places else (1.0, 10.0)
        self.tens_of_an_inch = math.log10(self._ends[1] / self._ends[0]) / _WIDE_IN

    def dress(self, axes: Axes) -> None:
        """Give axes their ends and as many words as have room."""
        named: list[float] = []
        for place in self._words:
            if not named or math.log10(place / named[-1]) >= _WORD_IN * self.tens_of_an_inch:
                named.append(place)
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.set_xlim(*self._ends)
        axes.set_xticks(named, [self._words[place] for place in named], fontsize=SMALL_PT)


def _range(smallest: float, largest: float) -> str:
    low, high = parameters(smallest), parameters(largest)
    if low == high:
        return low
    return f"{low.removesuffix(high[-2:])}\u2013{high}"  # 7.2-8 B


def _draw_sizes(axes: Axes, cells: Sequence[Shown], of_family: dict[str, Style], axis: _SizeAxis) -> None:
    n_at = Counter(axis.place_of[one.trial.model.parameters] for one in cells)
    seen: Counter[float] = Counter()
    lines: dict[tuple[str, bool, str], dict[float, tuple[float, float]]] = {}
    for one in sorted(cells, key=_by_size):
        model, ranking = one.trial.model, one.ranking
        if ranking is None:
            continue
        place = axis.place_of[model.parameters]
        step = seen[place] - (n_at[place] - 1) / 2
        seen[place] += 1
        x = place * 10 ** (step * _APART_IN * axis.tens_of_an_inch)
        bounds = (ranking.delong.low, ranking.delong.high)
        draw_interval(axes, x, ranking.auroc, bounds, of_family[model.family], across=False)
        lines.setdefault((model.family, model.is_instruct, model.quantization), {})[place] = (
            x,
            ranking.auroc,
        )
    for (family, _, _), points in lines.items():
        axes.plot(*zip(*points.values(), strict=True), color=of_family[family][0], linewidth=1.0, zorder=1)


def _by_size(one: Shown) -> tuple[float, str]:
    return one.trial.model.parameters, one.trial.model.name
