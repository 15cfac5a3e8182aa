"""How errors and norms are spread over vectors."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from overnight.report.best_of_k.results import Spreads
from overnight.report.drawing import BLUE, GREEN, ORANGE, PURPLE, SKY, TEXT, VERMILION
from overnight.report.uncertainty.frame import LABEL_PT, MARGIN_IN, SMALL_PT, WIDTH_IN, Frame, NamedRun, Style
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
    of_errors = [(f"K = {k}", spreads.errors[k]) for k in ks]
    of_norms = [("vectors", spreads.norms), ("best reconstructions", spreads.best_norms)]
    # With few K the ends of the scale are kept: the first and the last colour.
    styles = (*_STYLES[: len(ks) - 1], _STYLES[-1])
    frame = Frame(
        named,
        title=f"Errors and norms over vectors: {label}",
        remark=f"Above: the mean squared error that the best of K texts is expected to have, for each of "
        f"{len(spreads.norms):,} vectors. Below: lengths of vectors, and of the reconstructions from their best texts.",
        body_in=2 * (_PLOT_IN + _FOOT_IN),
        legend=[
            sign(style, name, line=True)
            for (name, _), style in zip([*of_errors, *of_norms], [*styles, *_NORM_STYLES], strict=True)
        ],
        notes=["The highest 0.5\u00a0% are in the last bin."],
    )
    for place, (what, series, own) in enumerate(
        (("mean squared error", of_errors, styles), ("norm", of_norms, _NORM_STYLES))
    ):
        axes = frame.axes(
            MARGIN_IN + _LEFT_IN,
            0.05 + place * (_PLOT_IN + _FOOT_IN),
            WIDTH_IN - 2 * MARGIN_IN - _LEFT_IN - 0.08,
            _PLOT_IN - 0.05,
        )
        _panel(axes, [values for _, values in series], own, what)
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
