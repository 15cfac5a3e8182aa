"""How figures look and how they are written: as PNG and PDF, in full or not at all.

Drawn through matplotlib's objects alone: no global state, no display. Colours are Okabe and Ito's, which stay
apart in every common colour blindness.
"""

from pathlib import Path
from typing import Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from overnight.store.files import atomic_bytes

BLUE: Final = "#0072B2"
VERMILION: Final = "#D55E00"
GREEN: Final = "#009E73"
PURPLE: Final = "#CC79A7"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
BLACK: Final = "#000000"
GREY: Final = "#8c8c8c"
TEXT: Final = "#222222"
_FORMATS: Final = ("png", "pdf")
_DPI: Final = 160


def save_figure(folder: Path, name: str, figure: Figure) -> None:
    """Write a figure; the same numbers give the same bytes."""
    FigureCanvasAgg(figure)
    for kind in _FORMATS:
        # Without dates.
        metadata = {"CreationDate": None, "ModDate": None} if kind == "pdf" else {"Software": None}
        with atomic_bytes(folder / f"{name}.{kind}") as file:
            figure.savefig(file, format=kind, dpi=_DPI, metadata=metadata)


def remove_figure(folder: Path, name: str) -> None:
    """Take a figure of before away."""
    for kind in _FORMATS:
        (folder / f"{name}.{kind}").unlink(missing_ok=True)
