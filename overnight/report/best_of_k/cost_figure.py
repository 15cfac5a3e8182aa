"""Recovery over what it costs: tokens and seconds a vector, all trials in one picture."""

from collections.abc import Mapping, Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from overnight.best_of_k.record import Point
from overnight.report.drawing import TEXT
from overnight.report.uncertainty.frame import (
    LABEL_PT,
    MARGIN_IN,
    SMALL_PT,
    STYLES,
    WIDTH_IN,
    Frame,
    NamedRun,
    Style,
)
from overnight.report.uncertainty.marks import sign

_PLOT_IN: Final = 2.2
_FOOT_IN: Final = 0.5
_LEFT_IN: Final = 0.62


def cost_figure(named: NamedRun, points: Sequence[Point]) -> Frame | None:
    """Return every number of texts of every trial by its price; None where nothing has a price."""
    shown = [point for point in points if point.recovery is not None]
    if not shown:
        return None
    labels = list(dict.fromkeys(point.label for point in shown))
    styles = {label: STYLES[place % len(STYLES)] for place, label in enumerate(labels)}
    has_seconds = any(point.seconds_per_vector is not None for point in shown)
    n_panels = 1 + has_seconds
    frame = Frame(
        named,
        title="What recovery costs",
        remark="Bias-aware FVE of the best of K texts (oracle) over what the K texts of a vector take; each sign is a "
        "K, the smallest at the left. Filled: no other point recovers as much for less.",
        body_in=n_panels * (_PLOT_IN + _FOOT_IN),
        legend=[sign(styles[label], label, line=True) for label in labels] if len(labels) > 1 else [],
        notes=["Seconds are those of devices, drawing and encoding together."] if has_seconds else [],
    )
    for place in range(n_panels):
        axes = frame.axes(
            MARGIN_IN + _LEFT_IN,
            0.05 + place * (_PLOT_IN + _FOOT_IN),
            WIDTH_IN - 2 * MARGIN_IN - _LEFT_IN - 0.08,
            _PLOT_IN - 0.05,
        )
        _panel(axes, shown, styles, by_seconds=place == 1)
    return frame


def _panel(axes: Axes, points: Sequence[Point], styles: Mapping[str, Style], *, by_seconds: bool) -> None:
    for label, (color, marker, dash) in styles.items():
        own = [point for point in points if point.label == label]
        found = [
            (price, point.recovery, is_efficient)
            for point in own
            for price, is_efficient in [
                (point.seconds_per_vector, point.is_efficient_in_seconds)
                if by_seconds
                else (point.tokens_per_vector, point.is_efficient_in_tokens)
            ]
            if price and point.recovery is not None
        ]
        if not found:
            continue
        axes.plot(
            [price for price, *_ in found],
            [value for _, value, _ in found],
            color=color,
            linewidth=1.2,
            linestyle=dash,
            zorder=2,
        )
        for price, value, is_efficient in found:
            face = color if is_efficient else "white"
            axes.plot(
                [price],
                [value],
                marker,
                color=color,
                markerfacecolor=face,
                markersize=5,
                zorder=3,
                linestyle="",
            )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=9))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.tick_params(labelsize=SMALL_PT)
    what = "seconds a vector" if by_seconds else "tokens a vector"
    axes.set_xlabel(what, fontsize=LABEL_PT, color=TEXT)
    axes.set_ylabel("bias-aware FVE", fontsize=LABEL_PT, color=TEXT)
    axes.grid(axis="both", color="#e4e4e4", linewidth=0.6)
