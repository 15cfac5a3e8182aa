"""How errors and norms are spread over vectors."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from overnight.report.best_of_k.results import Spreads
from overnight.report.drawing import BLUE, GREEN, ORANGE, PURPLE, SKY, TEXT, VERMILION
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
from overnight.stats.pairs import FloatArray

_BINS: Final = 50
_PLOT_IN: Final = 1.75
_FOOT_IN: Final = 0.5
_LEFT_IN: Final = 0.5
_MOST_KS: Final = 4
_TAIL: Final = 0.995  # of the values that are drawn; the last few would squeeze all others together
_STYLES: Final[tuple[Style, ...]] = (
    (VERMILION, "", "-"),
    (ORANGE, "", "--"),
    (GREEN, "", ":"),
    (BLUE, "", "-"),
)
_NORM_STYLES: Final[tuple[Style, ...]] = ((PURPLE, "", "-"), (SKY, "", "--"))


def histogram_figure(named: NamedRun, label: str, spreads: Spreads) -> Frame | None:
    """Return the errors of the best of some K over vectors, and the norms of vectors and reconstructions."""
    ks = _some([k for k, found in spreads.errors.items() if len(found)])
    if not ks:
        return None
    # With few K the ends of the scale are kept: the first and the last colour.
    styles = (*_STYLES[: len(ks) - 1], _STYLES[-1])
    return _figure(
        named,
        title=f"Errors and norms over vectors: {label}",
        remark=f"Above: the mean squared error that the best of K texts is expected to have, for each of "
        f"{len(spreads.norms):,} vectors. Below: lengths of vectors, and of the reconstructions from their best texts.",
        errors=[_Series(f"K = {k}", spreads.errors[k], style) for k, style in zip(ks, styles, strict=True)],
        norms=[
            _Series("vectors", spreads.norms, _NORM_STYLES[0]),
            _Series("best reconstructions", spreads.best_norms, _NORM_STYLES[1]),
        ],
    )


def comparison_histogram(named: NamedRun, found: Mapping[str, Spreads]) -> Frame | None:
    """Return the errors of the best of the largest K, and the norms of vectors, of several trials."""
    series = [
        (label, each.errors[max(each.errors)], each.norms)
        for label, each in found.items()
        if each.errors and len(each.errors[max(each.errors)])
    ]
    if not series:
        return None
    styles = [(color, "", dash) for color, _, dash in STYLES]
    return _figure(
        named,
        title="Errors and norms over vectors",
        remark="Above: the mean squared error of the best of all texts of a vector. Below: lengths of vectors.",
        errors=[
            _Series(label, errors, styles[place % len(styles)])
            for place, (label, errors, _) in enumerate(series)
        ],
        norms=[
            _Series(label, norms, styles[place % len(styles)])
            for place, (label, _, norms) in enumerate(series)
        ],
        is_one_legend=True,
    )


class _Series(NamedTuple):
    label: str
    values: FloatArray
    style: Style


def _figure(
    named: NamedRun,
    *,
    title: str,
    remark: str,
    errors: Sequence[_Series],
    norms: Sequence[_Series],
    is_one_legend: bool = False,
) -> Frame:
    frame = Frame(
        named,
        title=title,
        remark=remark,
        body_in=2 * (_PLOT_IN + _FOOT_IN),
        legend=[
            sign(each.style, each.label, line=True)
            for each in (errors if is_one_legend else [*errors, *norms])
        ],
        notes=["The highest 0.5\u00a0% are in the last bin."],
    )
    for place, (what, series) in enumerate((("mean squared error", errors), ("norm", norms))):
        axes = frame.axes(
            MARGIN_IN + _LEFT_IN,
            0.05 + place * (_PLOT_IN + _FOOT_IN),
            WIDTH_IN - 2 * MARGIN_IN - _LEFT_IN - 0.08,
            _PLOT_IN - 0.05,
        )
        _panel(axes, [each.values for each in series], [each.style for each in series], what)
    return frame


def _panel(axes: Axes, series: Sequence[FloatArray], styles: Sequence[Style], what: str) -> None:
    together = np.concatenate(list(series))
    low, high = float(together.min()), float(np.quantile(together, _TAIL))
    if high <= low:
        low, high = low - 0.5, low + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    for values, (color, _, dash) in zip(series, styles, strict=True):
        counts, _ = np.histogram(np.minimum(values, high), bins=edges)
        axes.stairs(counts, edges, color=color, linestyle=dash, linewidth=1.3)
    axes.set_xlim(low, high)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.tick_params(labelsize=SMALL_PT)
    axes.set_xlabel(what, fontsize=LABEL_PT, color=TEXT)
    axes.set_ylabel("vectors", fontsize=LABEL_PT, color=TEXT)


def _some(ks: Sequence[int]) -> list[int]:
    """Return at most four of them, the first and the last among these."""
    if len(ks) <= _MOST_KS:
        return list(ks)
    places = np.linspace(0, len(ks) - 1, _MOST_KS).round().astype(int)
    return [ks[place] for place in places]
