"""Figures of families and of data sets."""

from matplotlib.figure import Figure

from overnight.report.drawing import BLACK, GREY, SKY, TEXT
from overnight.report.uncertainty.best import shown
from overnight.report.uncertainty.frame import LABEL_PT, MARGIN_IN, WIDTH_IN, Frame
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
)
from overnight.report.wording import counted
from overnight.stats.model_cells import Factor
from overnight.uncertainty.analysis import Analysis

_NAMES_IN = 2.1
_BAR_ROW_IN = 0.5


def family_bars(analysis: Analysis) -> Figure | None:
    """Return the mean area of each family as a bar from 0, with its trials as circles."""
    means = analysis.means_of(Factor.FAMILY)
    if not any(one.mean is not None for one in means):
        return None
    frame = Frame(
        analysis,
        title="Families",
        remark=f"Mean AUROC of {judged_by(analysis)}, with {level_of_intervals(analysis)} intervals over the choice of "
        "items, for these very models. Circles are trials; dashed: chance. Families may differ in size "
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


def dataset_effect(analysis: Analysis) -> Figure | None:
    """Return the areas of each model on every data set, and the mean over the models."""
    cells = [one for one in shown(analysis) if one.ranking]
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
        ("mean of the models", f"over {listed([str(one.n_cells) for one in means.values()])} models"),
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
                ranking = one.ranking
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
