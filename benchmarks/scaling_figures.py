"""Curves over sizes, both axes logarithmic: time for each, and peak memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from overnight.report.drawing import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION
from overnight.store.files import atomic_bytes

_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, GREY)
_MARKS = "os^Dv<>P*X"


def draw_curves(base: Path, kind: str, curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write ``<base>-<kind>.png``.

    Args:
        base: of the file.
        kind: what is counted.
        curves: by stage, of points with ``size``, ``seconds`` and ``peak_mb``.
    """
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (stage, points) in enumerate(curves.items()):
        if not points:
            continue
        sizes = [point["size"] for point in points]
        look = {
            "color": _COLOURS[number % len(_COLOURS)],
            "marker": _MARKS[number % len(_MARKS)],
            "markersize": 4,
            "label": stage,
        }
        left.plot(sizes, [1e6 * point["seconds"] / point["size"] for point in points], **look)
        right.plot(sizes, [point["peak_mb"] for point in points], **look)
    for axes, said in (
        (left, f"microseconds for each of the {kind}"),
        (right, "peak memory of the process, MB"),
    ):
        axes.set(xscale="log", yscale="log", xlabel=kind, ylabel=said)
        axes.grid(visible=True, which="both", alpha=0.25)
    right.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    FigureCanvasAgg(figure)
    with atomic_bytes(base.with_name(f"{base.name}-{kind}.png")) as file:
        figure.savefig(file, format="png", dpi=160, metadata={"Software": None})
