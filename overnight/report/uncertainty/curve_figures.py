"""ROC curves, risk over coverage, and reliability diagrams: a panel a trial."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from overnight.report.drawing import GREY, TEXT
from overnight.report.uncertainty.best import Shown, best_measures, shown
from overnight.report.uncertainty.frame import (
    MARGIN_IN,
    SMALL_PT,
    WIDTH_IN,
    Frame,
    Style,
    fitted,
    line_in,
    wrapped,
)
from overnight.report.uncertainty.marks import sign, styles
from overnight.report.uncertainty.naming import dataset_title, label_title, measure_title
from overnight.stats.exact_rate import exact_interval
from overnight.uncertainty.analysis import Analysis

_MOST_MEASURES = 5
_LENGTH = "n_tokens"
_COLUMNS = 2
_PANEL_IN = 2.75  # with its names above and its words below
_PLOT_IN = 1.85
Draw = Callable[[Axes, Shown], None]


def roc_curves(analysis: Analysis) -> Figure | None:
    """Return the ROC curves of some measures."""
    names = chosen_measures(analysis)
    of_measure = styles(names)

    def draw(axes: Axes, one: Shown) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        for name in names:
            result = one.label.measure(name) if one.label else None
            if result and result.roc:
                _line(axes, result.roc.x, result.roc.y, of_measure[name])
        axes.set_xlabel("right answers refused", fontsize=SMALL_PT)
        axes.set_ylabel("wrong answers refused", fontsize=SMALL_PT)

    return _panels(
        analysis,
        draw,
        title="Refusing wrong answers, at the price of right ones",
        remark="ROC curves: the share of wrong answers that a threshold refuses, over the share of right ones "
        f"(right: {label_title(analysis.label)}). Dashed: chance.",
        drawn=_drawn(analysis, names),
        of_name={name: (measure_title(name), of_measure[name]) for name in names},
    )


def risk_coverage(analysis: Analysis) -> Figure | None:
    """Return the risk-coverage curves of some measures."""
    names = chosen_measures(analysis)
    of_measure = styles(names)

    def draw(axes: Axes, one: Shown) -> None:
        if one.label and one.label.accuracy is not None:
            axes.axhline(1 - one.label.accuracy, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        for name in names:
            result = one.label.measure(name) if one.label else None
            if result and result.risk_coverage:
                _line(axes, result.risk_coverage.x, result.risk_coverage.y, of_measure[name])
        axes.set_xlabel("share answered", fontsize=SMALL_PT)
        axes.set_ylabel("wrong among them", fontsize=SMALL_PT)

    return _panels(
        analysis,
        draw,
        title="Answering only when certain",
        remark="Risk over coverage: the share of wrong answers among those given, when only the most certain are "
        f"(right: {label_title(analysis.label)}). Dashed: answering everything.",
        drawn=_drawn(analysis, names),
        of_name={name: (measure_title(name), of_measure[name]) for name in names},
    )


def reliability_diagrams(analysis: Analysis) -> Figure | None:
    """Return how often answers are right, over the probability that they are."""
    cells = shown(analysis)
    titles = {
        found.measure: found.title for one in cells for found in (one.label.calibrations if one.label else ())
    }
    of_measure = styles(titles)
    confidence = analysis.settings.confidence

    def draw(axes: Axes, one: Shown) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        for found in one.label.calibrations if one.label else ():
            if found.reliability is None or not _is_sound(one, found.measure):
                continue
            color, marker, _ = of_measure[found.measure]
            bins = found.reliability.bins
            places = [one_bin.mean_probability for one_bin in bins]
            bounds = [
                exact_interval(round(one_bin.share_right * one_bin.n_items), one_bin.n_items, confidence)
                or (one_bin.share_right, one_bin.share_right)
                for one_bin in bins
            ]
            low, high = zip(*bounds, strict=True)
            axes.vlines(places, low, high, color=color, linewidth=0.8, alpha=0.6)
            axes.plot(
                places,
                [one_bin.share_right for one_bin in bins],
                color=color,
                marker=marker,
                markersize=4,
                linewidth=1.2,
            )
        axes.set_xlabel("probability", fontsize=SMALL_PT)
        axes.set_ylabel("share right", fontsize=SMALL_PT)

    return _panels(
        analysis,
        draw,
        title="Do the probabilities mean what they say?",
        remark=f"Share of right answers ({label_title(analysis.label)}) over the probability of the model, in bins of "
        f"about equal numbers, with exact {100 * confidence:g} % intervals. On the dashed line it is as often right "
        "as it says.",
        drawn=[
            any(
                found.reliability is not None and _is_sound(one, found.measure)
                for found in (one.label.calibrations if one.label else ())
            )
            for one in cells
        ],
        of_name={name: (title, of_measure[name]) for name, title in titles.items()},
    )


def chosen_measures(analysis: Analysis) -> list[str]:
    """Return the measures that curves are drawn of: the shown one, length alone, and the best of the others.

    Of measures that rank everything alike, as average NLL and perplexity do, one is drawn.
    """
    best = best_measures(analysis)
    areas = {one.level: one.aurocs for one in best}
    order = [analysis.measure, *(one.level for one in best if one.level != _LENGTH)]
    names: list[str] = []
    for name in dict.fromkeys(order):
        is_another = all(areas.get(name) != areas.get(other) for other in names)
        if name in areas and is_another and len(names) < _MOST_MEASURES - 1:
            names.append(name)
    return [*names, *([_LENGTH] if _LENGTH in areas and _LENGTH not in names else [])]


def _is_sound(one: Shown, measure: str) -> bool:
    result = one.label.measure(measure) if one.label else None
    return result is not None and result.auroc is not None


def _drawn(analysis: Analysis, names: Sequence[str]) -> list[bool]:
    return [any(_is_sound(one, name) for name in names) for one in shown(analysis)]


def _line(axes: Axes, x: Sequence[float], y: Sequence[float], style: Style) -> None:
    color, marker, dash = style
    # A sign here and there tells lines apart without their colours.
    step = max(1, len(x) // 4)
    axes.plot(
        x,
        y,
        color=color,
        linestyle=dash,
        linewidth=1.3,
        marker=marker,
        markersize=3.5,
        markevery=(step // 2, step),
    )


def _panels(
    analysis: Analysis,
    draw: Draw,
    *,
    title: str,
    remark: str,
    drawn: Sequence[bool],
    of_name: dict[str, tuple[str, Style]],
) -> Figure | None:
    cells = shown(analysis)
    if not any(drawn):
        return None
    n_rows = -(-len(cells) // _COLUMNS)
    frame = Frame(
        analysis,
        title=title,
        remark=remark,
        body_in=_PANEL_IN * n_rows,
        legend=[sign(style, words, line=True) for words, style in of_name.values()],
    )
    column_in = (WIDTH_IN - 2 * MARGIN_IN) / _COLUMNS
    for place, (one, is_drawn) in enumerate(zip(cells, drawn, strict=True)):
        left, top = MARGIN_IN + column_in * (place % _COLUMNS), _PANEL_IN * (place // _COLUMNS)
        frame.lines([fitted(one.trial.model.name, SMALL_PT, column_in - 0.1)], left, top, SMALL_PT, bold=True)
        frame.lines([dataset_title(one.trial.dataset)], left, top + line_in(SMALL_PT), SMALL_PT)
        body = top + 2.2 * line_in(SMALL_PT)
        if is_drawn:
            axes = frame.axes(left + 0.5, body, column_in - 0.65, _PLOT_IN)
            draw(axes, one)
            axes.set_xlim(-0.02, 1.02)
            axes.set_ylim(-0.02, 1.02)
            for set_ticks in (axes.set_xticks, axes.set_yticks):
                set_ticks([0, 0.5, 1], ["0", "0.5", "1"])
            axes.grid(color="#eeeeee", linewidth=0.6)
        else:
            why = f"Not judged: {one.why_not or 'no probability'}."
            frame.lines(wrapped(why, SMALL_PT, column_in - 0.2), left, body, SMALL_PT, color=TEXT)
    return frame.figure
