"""Figures of what models have in common: family, size, data set."""

import math
from collections import Counter
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from overnight.report.drawing import BLACK, GREY, SKY, TEXT
from overnight.report.uncertainty.best import Shown, shown
from overnight.report.uncertainty.frame import LABEL_PT, MARGIN_IN, SMALL_PT, WIDTH_IN, Frame, Style
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
    area,
    area_interval,
    dataset_title,
    listed,
    model_facts,
    parameters,
)
from overnight.report.wording import counted
from overnight.stats.model_cells import Factor
from overnight.uncertainty.analysis import Analysis

_NAMES_IN = 2.0
_BAR_ROW_IN = 0.5
_DODGE = 0.035  # between points of one size, as a factor of ten
_CROWDED = 0.12  # a factor of ten; sizes nearer than this have slanted words


def family_bars(analysis: Analysis) -> Figure | None:
    """Return the mean area of each family as a bar from 0, with its trials as circles."""
    means = analysis.means_of(Factor.FAMILY)
    if not any(one.mean is not None for one in means):
        return None
    frame = Frame(
        analysis,
        title="Families",
        remark=f"Mean AUROC of {judged_by(analysis)}, with {level_of_intervals(analysis)} intervals over the choice of "
        "items; the models are these models. Circles are trials; dashed: chance. Families may differ in size "
        "and kind too: the contrasts compare like with like.",
        body_in=_BAR_ROW_IN * len(means) + 0.5,
        notes=why_not_plotted(shown(analysis)),
    )
    rows = [
        (
            one.level,
            f"{area(one.mean)} ({area_interval(one.low, one.high)}), {counted(one.n_cells, 'trial')}"
            if one.mean is not None
            else "not judged",
        )
        for one in means
    ]
    names_in = 2.35
    draw_row_names(frame, rows, 0, _BAR_ROW_IN, names_in - 0.1)
    axes = frame.axes(MARGIN_IN + names_in, 0, WIDTH_IN - names_in - 0.35, _BAR_ROW_IN * len(means))
    for row, one in enumerate(means):
        if one.mean is None:
            continue
        axes.barh(row, one.mean, height=0.56, color=SKY, zorder=1)
        if one.low is not None and one.high is not None:
            axes.plot([one.low, one.high], [row, row], color=BLACK, linewidth=1.6, zorder=3)
        axes.plot(
            one.aurocs,
            [row + 0.16] * len(one.aurocs),
            "o",
            color=TEXT,
            markerfacecolor="white",
            markersize=4,
            zorder=4,
        )
    draw_chance(axes)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_xlabel("AUROC", fontsize=LABEL_PT)
    axes.set_ylim(len(means) - 0.5, -0.5)
    axes.set_yticks([])
    return frame.figure


def size_effect(analysis: Analysis) -> Figure | None:
    """Return areas over the number of parameters; lines join what differs in size alone."""
    cells = [one for one in shown(analysis) if one.result and one.result.auroc is not None]
    if not cells:
        return None
    datasets = datasets_in_order(analysis)
    families = list(dict.fromkeys(one.family for one in models_in_order(analysis)))
    of_family, of_dataset = styles(families), styles(datasets)
    style_of: dict[tuple[str, str], Style] = {
        (family, dataset): (of_family[family][0], of_dataset[dataset][1], "-")
        for family in families
        for dataset in datasets
    }
    drawn = dict.fromkeys((one.trial.model.family, one.trial.dataset) for one in cells)
    frame = Frame(
        analysis,
        title="Size",
        remark=f"AUROC of {judged_by(analysis)}, with {level_of_intervals(analysis)} intervals, over the number of "
        "parameters (in factors of ten; models of one size stand side by side). Lines join models that differ in "
        "size alone.",
        body_in=3.5,
        legend=[sign(style_of[key], f"{key[0]} on {dataset_title(key[1])}") for key in drawn],
        notes=why_not_plotted(shown(analysis)),
    )
    axes = frame.axes(0.62, 0.12, WIDTH_IN - 0.62 - 2 * MARGIN_IN, 2.8)
    draw_chance(axes, across=False)
    seen: Counter[float] = Counter()
    at_size = Counter(one.trial.model.parameters for one in cells)
    lines: dict[tuple[str, str, bool, str], list[tuple[float, float]]] = {}
    bounds: list[float | None] = []
    for one in sorted(cells, key=_by_size):
        model, ranking = one.trial.model, one.result.discrimination.ranking if one.result else None
        if ranking is None:
            continue
        step = seen[model.parameters] - (at_size[model.parameters] - 1) / 2
        seen[model.parameters] += 1
        x = model.parameters * 10 ** (step * _DODGE)
        style = style_of[model.family, one.trial.dataset]
        draw_interval(axes, x, ranking.auroc, (ranking.delong.low, ranking.delong.high), style, across=False)
        alike = (model.family, one.trial.dataset, model.is_instruct, model.quantization)
        lines.setdefault(alike, []).append((x, ranking.auroc))
        bounds += [ranking.auroc, ranking.delong.low, ranking.delong.high]
    for (family, dataset, _, _), points in lines.items():
        axes.plot(*zip(*points, strict=True), color=style_of[family, dataset][0], linewidth=1.0, zorder=1)
    _size_axis(axes, sorted(at_size))
    axes.set_ylim(*area_limits(bounds))
    axes.set_ylabel("AUROC (dashed: chance)", fontsize=LABEL_PT)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    return frame.figure


def dataset_effect(analysis: Analysis) -> Figure | None:
    """Return the areas of each model on every data set, and the mean over the models."""
    cells = [one for one in shown(analysis) if one.result and one.result.auroc is not None]
    if not cells:
        return None
    datasets = [
        name for name in datasets_in_order(analysis) if any(one.trial.dataset == name for one in cells)
    ]
    names = {one.trial.model.name for one in cells}
    models = [one for one in models_in_order(analysis) if one.name in names]
    of_dataset = styles(datasets_in_order(analysis))
    means = {one.level: one for one in analysis.means_of(Factor.DATASET) if one.level in datasets}
    row_in = max(0.44, 0.17 * len(datasets) + 0.1)
    frame = Frame(
        analysis,
        title="Data sets",
        remark=f"AUROC of {judged_by(analysis)}, with {level_of_intervals(analysis)} intervals; dashed: chance.",
        body_in=row_in * (len(models) + 1) + 0.5,
        legend=[sign(of_dataset[name], dataset_title(name)) for name in datasets],
        notes=why_not_plotted(shown(analysis)),
    )
    rows = [
        ("mean of the models", f"of {listed([str(one.n_cells) for one in means.values()])}"),
        *((one.name, model_facts(one)) for one in models),
    ]
    draw_row_names(frame, rows, 0, row_in, _NAMES_IN - 0.1)
    axes = frame.axes(MARGIN_IN + _NAMES_IN, 0, WIDTH_IN - _NAMES_IN - 0.4, row_in * len(rows))
    draw_chance(axes)
    axes.axhline(0.5, color=GREY, linewidth=0.8)
    bounds: list[float | None] = []
    for place, dataset in enumerate(datasets):
        y = (place + 1) / (len(datasets) + 1) - 0.5
        if (mean := means.get(dataset)) and mean.mean is not None:
            draw_interval(axes, mean.mean, y, (mean.low, mean.high), of_dataset[dataset])
            bounds += [mean.mean, mean.low, mean.high]
        for row, model in enumerate(models, start=1):
            for one in cells:
                ranking = one.result.discrimination.ranking if one.result else None
                if ranking and (one.trial.model.name, one.trial.dataset) == (model.name, dataset):
                    interval = (ranking.delong.low, ranking.delong.high)
                    draw_interval(axes, ranking.auroc, row + y, interval, of_dataset[dataset])
                    bounds += [ranking.auroc, *interval]
    axes.set_xlim(*area_limits(bounds))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("AUROC", fontsize=LABEL_PT)
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
    return frame.figure


def _by_size(one: Shown) -> tuple[float, str, str]:
    return one.trial.model.parameters, one.trial.dataset, one.trial.model.name


def _size_axis(axes: Axes, sizes: list[float]) -> None:
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xlim(sizes[0] / 10**0.3, sizes[-1] * 10**0.3)
    axes.set_xticks(sizes, [parameters(size) for size in sizes], fontsize=SMALL_PT)
    axes.set_xlabel("parameters", fontsize=LABEL_PT)
    if len(sizes) > 1 and min(math.log10(b / a) for a, b in pairwise(sizes)) < _CROWDED:
        axes.tick_params(axis="x", rotation=40)
