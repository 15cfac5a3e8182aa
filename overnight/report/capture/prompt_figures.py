"""Figures of one prompt: a trait over layers and tokens, and all traits over tokens."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from numpy.typing import NDArray

from overnight.captures.prompt import CapturedPrompt, layer_and_sublayer
from overnight.report.capture.naming import point_title
from overnight.report.capture.reading import curve_of
from overnight.report.capture.results import ShownTrait
from overnight.report.drawing import BLUE, GREY, TEXT, VERMILION
from overnight.report.text import visible
from overnight.report.uncertainty.frame import (
    MARGIN_IN,
    SMALL_PT,
    STYLES,
    WIDTH_IN,
    Frame,
    NamedRun,
    text_in,
)
from overnight.report.uncertainty.marks import sign
from overnight.report.wording import shortened, significant

Floats = NDArray[np.floating[Any]]

AROUND_ZERO: Final = LinearSegmentedColormap.from_list("around 0", [BLUE, "#ffffff", VERMILION])
_SUBLAYER: Final = "residual_out"
_TOKEN_IN, _LAYER_IN = 0.155, 0.11  # a cell
_LEFT_IN, _RIGHT_IN = 0.5, 0.15
_BAR_IN = 0.5
_TOKEN_PT: Final = 7.5
_MOST_IN: Final = 28.0  # a longer prompt has narrower cells, and not every token is named
_WORD_IN: Final = 0.135  # between names that can be read
_REACH: Final = 98  # percentile of sizes at which colours end
_LONGEST_TOKEN, _LONGEST_PROMPT = 13, 90


def heat_map(named: NamedRun, prompt: CapturedPrompt, shown: ShownTrait) -> Frame | None:
    """Return a trait at the end of every layer over the tokens; None where no layer's end was captured."""
    places = [place for place, point in enumerate(prompt.points) if layer_and_sublayer(point)[1] == _SUBLAYER]
    if not places:
        return None
    layers = [layer_and_sublayer(prompt.points[place])[0] for place in places]
    source = prompt.z if shown.has_z and prompt.z is not None else prompt.projections
    values = source[:, places, prompt.traits.index(shown.trait)].T.astype(np.float64)  # [layers, T]
    cells_in = min(_TOKEN_IN * prompt.n_tokens, _MOST_IN)
    width_in = max(WIDTH_IN, _LEFT_IN + _RIGHT_IN + 2 * MARGIN_IN + cells_in)
    cells_in = width_in - _LEFT_IN - _RIGHT_IN - 2 * MARGIN_IN
    height_in, labels_in = max(0.6, _LAYER_IN * len(layers)), 0.18 + _names_in(prompt, cells_in)
    reach, largest = reach_of(values)
    notes = []
    if np.isnan(values).any():
        notes.append(
            "Hatched: undefined, the vector or the null directions have no length or no spread there."
        )
    if largest > reach:
        notes.append(
            f"Colours end at \u00b1{significant(reach)}, which {_REACH} % of cells after the first token keep to; "
            f"the largest size is {significant(largest)}."
        )
    frame = Frame(
        named,
        title=f"{visible(shown.trait)}: {shortened(_in_a_line(prompt.prompt), _LONGEST_PROMPT)}",
        remark=f"{shown.quantity} after each token, at the end of every layer. The line parts prompt and reply.",
        body_in=height_in + labels_in + _BAR_IN,
        notes=[*notes, visible(prompt.prompt_id)],
        width_in=width_in,
    )
    left_in = MARGIN_IN + _LEFT_IN
    axes = frame.axes(left_in, 0.18, cells_in, height_in - 0.05)
    scale = Normalize(-reach, reach)
    edges = np.arange(prompt.n_tokens + 1) - 0.5, np.arange(len(layers) + 1) - 0.5
    masked = np.ma.masked_invalid(values)
    axes.pcolormesh(*edges, masked, cmap=AROUND_ZERO, norm=scale, rasterized=True)
    draw_undefined(axes, np.isnan(values), edges)
    _boundary(axes, prompt)
    axes.set_ylabel("layer", fontsize=SMALL_PT, color=TEXT)
    step = max(1, -(-len(layers) // max(1, int(height_in / 0.16))))
    axes.set_yticks(range(0, len(layers), step), [str(layer) for layer in layers[::step]])
    _token_names(axes, prompt, cells_in)
    bar_in = min(3.0, cells_in)
    bar = frame.axes(left_in, height_in + labels_in + 0.06, bar_in, 0.12)
    color_bar(bar, scale, shown.quantity)
    return frame


def curves(named: NamedRun, prompt: CapturedPrompt, traits: Sequence[ShownTrait]) -> Frame | None:
    """Return every trait over the tokens, each at the layer that stands for it; None without traits."""
    if not traits:
        return None
    cells_in = min(_TOKEN_IN * prompt.n_tokens, _MOST_IN)
    width_in = max(WIDTH_IN, _LEFT_IN + _RIGHT_IN + 2 * MARGIN_IN + cells_in)
    cells_in = width_in - _LEFT_IN - _RIGHT_IN - 2 * MARGIN_IN
    drawn = {one.trait: curve_of(prompt, one).astype(np.float64) for one in traits}
    undefined = [trait for trait, curve in drawn.items() if np.isnan(curve).any()]
    low, high = _ends(list(drawn.values()))
    outside = [
        trait
        for trait, curve in drawn.items()
        if np.nanmax(curve, initial=high) > high or np.nanmin(curve, initial=low) < low
    ]
    notes = (
        [f"Undefined at some tokens, where the curve is broken: {', '.join(map(visible, undefined))}."]
        if undefined
        else []
    )
    if outside:
        notes.append(
            f"The axis leaves out the ends of {', '.join(map(visible, outside))}, most of them of the first token."
        )
    height_in, labels_in = 2.1, 0.18 + _names_in(prompt, cells_in)
    places = {one.point for one in traits}
    where = point_title(next(iter(places))) if len(places) == 1 else "the layer that stands for each"
    quantity = traits[0].quantity
    frame = Frame(
        named,
        title=f"Traits over tokens: {shortened(_in_a_line(prompt.prompt), _LONGEST_PROMPT)}",
        remark=f"{quantity} after each token, at {where}. The line parts prompt and reply.",
        body_in=height_in + labels_in,
        legend=[
            sign(
                STYLES[place % len(STYLES)],
                f"{visible(one.trait)} ({_short_point(one.point)})"
                if len(places) > 1
                else visible(one.trait),
                line=True,
            )
            for place, one in enumerate(traits)
        ],
        notes=[*notes, visible(prompt.prompt_id)],
        width_in=width_in,
    )
    axes = frame.axes(MARGIN_IN + _LEFT_IN, 0.18, cells_in, height_in - 0.1)
    axes.axhline(0, color=GREY, linewidth=0.8)
    for place, curve in enumerate(drawn.values()):
        color, marker, dash = STYLES[place % len(STYLES)]
        axes.plot(
            np.arange(prompt.n_tokens),
            curve,
            color=color,
            linestyle=dash,
            linewidth=1.3,
            marker=marker,
            markersize=2.8,
        )
    axes.set_xlim(-0.5, prompt.n_tokens - 0.5)
    axes.set_ylim(low, high)
    _boundary(axes, prompt)
    axes.set_ylabel(quantity, fontsize=SMALL_PT, color=TEXT)
    _token_names(axes, prompt, cells_in)
    return frame


def reach_of(values: Floats) -> tuple[float, float]:
    """Return the size at which colours end, for which the first token is left out, and the largest; ``[..., T]``."""
    sizes = np.abs(values)
    later = sizes[..., 1:] if values.shape[-1] > 1 else sizes
    known = later[np.isfinite(later)]
    reach = float(np.percentile(known, _REACH)) if known.size else 0.0
    largest = float(np.nanmax(sizes)) if np.isfinite(sizes).any() else 0.0
    return reach or largest or 1.0, largest


def draw_undefined(axes: Axes, is_undefined: NDArray[np.bool_], edges: tuple[Floats, Floats]) -> None:
    """Hatch the cells ``[rows, columns]`` that have no value."""
    if is_undefined.any():
        cells = np.ma.masked_array(np.zeros(is_undefined.shape), ~is_undefined)
        plain = LinearSegmentedColormap.from_list("undefined", ["#eeeeee", "#eeeeee"])
        axes.pcolor(*edges, cells, cmap=plain, hatch="////", edgecolor="#999999", linewidth=0)


def color_bar(axes: Axes, scale: Normalize, quantity: str) -> None:
    """Draw which colours stand for what, below 0, at 0 and above it."""
    low, high = float(scale.vmin or -1.0), float(scale.vmax or 1.0)
    axes.imshow([list(range(256))], aspect="auto", extent=(low, high, 0, 1), cmap=AROUND_ZERO)
    axes.set_yticks([])
    axes.set_xticks(
        [low, 0, high], [f"{significant(low, 2)} or less", f"{quantity} 0", f"{significant(high, 2)} or more"]
    )
    axes.tick_params(length=0, labelsize=SMALL_PT)
    first, _, last = axes.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
    for spine in axes.spines.values():
        spine.set_visible(False)


def _ends(drawn: list[Floats]) -> tuple[float, float]:
    """Return the ends of an axis: of all curves, their first token left out."""
    later = np.concatenate([curve[1:] if curve.size > 1 else curve for curve in drawn])
    known = later[np.isfinite(later)]
    if not known.size:
        return -1.0, 1.0
    low, high = min(0.0, float(known.min())), max(0.0, float(known.max()))
    room = 0.06 * (high - low) or 1.0
    return low - room, high + room


def _boundary(axes: Axes, prompt: CapturedPrompt) -> None:
    if not 0 < prompt.n_prompt < prompt.n_tokens:
        return
    place = prompt.n_prompt - 0.5
    axes.axvline(place, color="black", linewidth=1.2)
    for text, align, shift in (("prompt ", "right", 0.0), (" reply", "left", 0.0)):
        axes.annotate(
            text,
            (place + shift, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            ha=align,
            va="bottom",
            fontsize=SMALL_PT,
            color=TEXT,
        )


def _token_names(axes: Axes, prompt: CapturedPrompt, cells_in: float) -> None:
    axes.set_xticks([])
    # Plain texts: as ticks they take three times as long to draw.
    for place, name in _named_tokens(prompt, cells_in):
        axes.annotate(
            name,
            (place, 0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -3),
            textcoords="offset points",
            rotation=90,
            ha="center",
            va="top",
            fontsize=_TOKEN_PT,
            color=TEXT,
            parse_math=False,
        )


def _named_tokens(prompt: CapturedPrompt, cells_in: float) -> list[tuple[int, str]]:
    """Return the tokens that are named, each with its position: all of them where there is room."""
    step = max(1, int(np.ceil(_WORD_IN * prompt.n_tokens / cells_in)))
    return [(place, _token_name(prompt.tokens[place])) for place in range(0, prompt.n_tokens, step)]


def _names_in(prompt: CapturedPrompt, cells_in: float) -> float:
    """Return the height that the names of tokens take, in inches."""
    longest = max((name for _, name in _named_tokens(prompt, cells_in)), key=len, default="")
    return text_in(longest, _TOKEN_PT) + 0.14


def _token_name(token: str) -> str:
    text = visible(token).replace("\n", "\u21b5").replace("\t", "\u2192")
    text = text.strip() or ("\u2423" if text else "(empty)")
    return shortened(text, _LONGEST_TOKEN)


def _short_point(point: str) -> str:
    layer, sublayer = layer_and_sublayer(point)
    return f"{layer}, {sublayer.replace('_', ' ')}"


def _in_a_line(text: str) -> str:
    return " ".join(visible(text).split())
