"""Recovery over the number of texts, with its bands: of one trial with its selectors and baselines, or of several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from overnight.best_of_k.baselines import Baseline
from overnight.best_of_k.definitions import DEFINITIONS, Measure
from overnight.best_of_k.record import Curve, KSweepResults
from overnight.best_of_k.selectors import Selector
from overnight.best_of_k.words import BASELINE_NAMES, MEASURE_NAMES, SELECTOR_NAMES
from overnight.report.drawing import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, TEXT, VERMILION
from overnight.report.uncertainty.frame import (
    LABEL_PT,
    MARGIN_IN,
    STYLES,
    WIDTH_IN,
    Frame,
    NamedRun,
    Style,
    unmathed,
)
from overnight.report.wording import MINUS

_PLOT_IN: Final = 2.75
_LEFT_IN: Final = 0.62
_FOOT_IN: Final = 0.52
_LOWEST: Final = -0.3  # of a share of variance that is drawn; far below it nothing is told apart
_SHARES: Final = (Measure.FVE, Measure.BIAS_AWARE_FVE, Measure.R_SQUARED_GRAND)
SELECTOR_STYLES: Final[Mapping[Selector, Style]] = {
    Selector.ORACLE: (BLUE, "o", "-"),
    Selector.LOG_PROBABILITY: (VERMILION, "s", "-"),
    Selector.MEAN_LOG_PROBABILITY: (ORANGE, "v", "-"),
    Selector.SELF_CONSISTENCY: (GREEN, "^", "-"),
    Selector.MEDOID: (PURPLE, "D", "-"),
}
BASELINE_STYLES: Final[Mapping[Baseline, Style]] = {
    Baseline.MEAN_VECTOR: (BLACK, "", ":"),
    Baseline.SHUFFLED: (SKY, "P", "--"),
    Baseline.OTHERS: (GREY, "X", "--"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A curve with its sign."""

    label: str
    curve: Curve
    style: Style
    has_band: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Untitled:
    """What stands for a run where results of several are drawn together."""

    experiment: str = ""
    run_id: str = ""
    is_dry_run: bool = False


def trial_figure(named: NamedRun, label: str, results: KSweepResults, level: str, measure: Measure) -> Frame:
    """Return a trial's oracle with its band, its selectors and its baselines."""
    lines = [
        Line(
            label=f"{SELECTOR_NAMES[curve.name]}{' (upper bound)' if curve.needs_vector else ''}",
            curve=curve,
            style=SELECTOR_STYLES[curve.name],
        )
        for curve in (results.oracle, *results.selectors)
    ]
    lines += [
        Line(label=BASELINE_NAMES[curve.name], curve=curve, style=BASELINE_STYLES[curve.name])
        for curve in results.baselines
    ]
    counts = results.vectors
    return curves_figure(
        named,
        lines,
        measure,
        title=f"What the best of K texts recovers: {label}",
        remark=f"{_reading(measure)} Bands: {level} intervals over {counts.n_sources:,} texts with "
        f"{counts.n_measured:,} vectors. The oracle chooses by the vector itself; baselines choose as it does.",
    )


def comparison_figure(
    named: NamedRun, found: Mapping[str, KSweepResults], level: str, measure: Measure
) -> Frame:
    """Return the oracles of several results, and of each the baseline that recovers most."""
    curves = {label: (results.oracle, results) for label, results in found.items()}
    return curves_of_several(named, curves, level, measure)


def curves_of_several(
    named: NamedRun, found: Mapping[str, tuple[Curve, KSweepResults | None]], level: str, measure: Measure
) -> Frame:
    """Return some oracles, and of those whose results are there the baseline that recovers most."""
    lines: list[Line] = []
    for number, (label, (oracle, results)) in enumerate(found.items()):
        style = STYLES[number % len(STYLES)]
        lines.append(Line(label=label, curve=oracle, style=style))
        baseline = _strongest(results, measure) if results else None
        if baseline is not None:
            below = Line(label="", curve=baseline, style=(style[0], "", ":"), has_band=False)
            lines.append(below)
    return curves_figure(
        named,
        lines,
        measure,
        title="What the best of K texts recovers",
        remark=f"{_reading(measure)} Oracle, with {level} intervals; dotted: the best baseline of each, which "
        "chooses as the oracle does.",
    )


def curves_figure(
    named: NamedRun, lines: Sequence[Line], measure: Measure, *, title: str, remark: str
) -> Frame:
    """Return curves over K on an axis of doublings."""
    drawn = [line for line in lines if line.curve.by_k]
    notes = [
        f"Not drawn: {line.label} ({line.curve.undefined_because})."
        for line in lines
        if line.label and not line.curve.by_k and line.curve.undefined_because
    ]
    lowest = min((low for line in drawn for low in _values(line, measure)), default=0.0)
    is_cut = measure in _SHARES and lowest < _LOWEST
    if is_cut:
        notes.append(f"What lies below {MINUS}{-_LOWEST:g} runs out of the picture; k_sweep.csv has it.")
    frame = Frame(
        named,
        title=title,
        remark=remark,
        body_in=_PLOT_IN + _FOOT_IN,
        legend=[_sign(line) for line in drawn if line.label],
        notes=notes,
    )
    axes = frame.axes(MARGIN_IN + _LEFT_IN, 0.05, WIDTH_IN - 2 * MARGIN_IN - _LEFT_IN - 0.08, _PLOT_IN - 0.05)
    for line in reversed(drawn):  # the first one lies on top
        _draw(axes, line, measure)
    _dress(axes, sorted({at.k for line in drawn for at in line.curve.by_k}), MEASURE_NAMES[measure])
    if measure in _SHARES:
        axes.axhline(0.0, color=GREY, linewidth=0.8, zorder=1)
    if is_cut:
        axes.set_ylim(bottom=_LOWEST)
    return frame


def doublings(axes: Axes, ks: Sequence[float]) -> None:
    """Set an axis of doublings whose ticks are the numbers themselves."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(list(ks)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(list(ks), [f"{k:,.0f}" for k in ks])


def _dress(axes: Axes, ks: Sequence[int], name: str) -> None:
    if ks:
        doublings(axes, ks)
    axes.set_xlabel("K, texts of a vector of which the best is kept", fontsize=LABEL_PT, color=TEXT)
    axes.set_ylabel(name, fontsize=LABEL_PT, color=TEXT)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)


def _draw(axes: Axes, line: Line, measure: Measure) -> None:
    color, marker, dash = line.style
    at = [(each.k, each.measures[measure]) for each in line.curve.by_k if measure in each.measures]
    found = [(k, each.value) for k, each in at if each.value is not None]
    if line.has_band:
        band = [
            (k, each.ci_lower, each.ci_upper)
            for k, each in at
            if each.ci_lower is not None and each.ci_upper is not None
        ]
        if band:
            ks, low, high = zip(*band, strict=True)
            axes.fill_between(ks, low, high, color=color, alpha=0.18, linewidth=0, zorder=2)
    if found:
        ks, values = zip(*found, strict=True)
        axes.plot(
            ks,
            values,
            color=color,
            marker=marker,
            markersize=4.5,
            linestyle=dash,
            linewidth=1.5,
            markeredgecolor="white",
            markeredgewidth=0.5,
            zorder=3,
        )


def _sign(line: Line) -> Line2D:
    color, marker, dash = line.style
    return Line2D(
        [],
        [],
        color=color,
        marker=marker,
        markersize=5,
        linestyle=dash,
        linewidth=1.5,
        label=unmathed(line.label),
    )


def _values(line: Line, measure: Measure) -> list[float]:
    found = (line.curve.value(at.k, measure) for at in line.curve.by_k)
    return [value for value in found if value is not None]


def _strongest(results: KSweepResults, measure: Measure) -> Curve | None:
    k = max(results.measured_ks, default=0)
    sign = 1.0 if DEFINITIONS[measure].is_higher_better else -1.0
    found = [
        (sign * value, curve) for curve in results.baselines if (value := curve.value(k, measure)) is not None
    ]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _reading(measure: Measure) -> str:
    return {
        Measure.FVE: "FVE: the share of the variance of the vectors that is explained; a constant error is free.",
        Measure.BIAS_AWARE_FVE: "Bias-aware FVE: the share of the variance of the vectors that is explained, where "
        "a constant error counts as well.",
        Measure.MSE: "Mean squared error of a number of a vector; lower is better.",
        Measure.NORMALISED_MSE: "Squared error over that of always giving the mean; lower is better, 1 is the mean.",
        Measure.R_SQUARED_GRAND: "R\u00b2 about one mean for all dimensions: high wherever these have other means.",
        Measure.COSINE: "Cosine of a vector and its reconstruction.",
    }[measure]
