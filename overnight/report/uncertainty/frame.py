"""The frame of a figure: laid out in inches from the top, narrow enough to be read on a telephone.

A figure of 5.2 inches that is shown 390 pixels wide has its small letters, of 8.5 points, at 9 pixels.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Literal, Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextToPath

from overnight.report.drawing import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, TEXT, VERMILION
from overnight.report.wording import shortened

WIDTH_IN: Final = 5.2
MARGIN_IN: Final = 0.12
TITLE_PT: Final = 11.5
LABEL_PT: Final = 9.0
SMALL_PT: Final = 8.5
_LINE: Final = 1.35  # height of a line over the size of its letters
_GAP_IN: Final = 0.1
_HANDLE_IN: Final = 0.62  # the sign before a word of a legend, and the space behind the word
_LEGEND_ROW_IN: Final = 0.185
_POINTS: Final = 72.0
_HINTED: Final = 1.03  # letters on pixels are a little wider than their outlines
DRY_RUN: Final = "DRY RUN: synthetic answers, no model."
# Colours repeat with other signs and dashes.
Style = tuple[str, str, Literal["-", "--", ":"]]  # colour, marker, dash
_DASHES: Final[tuple[Literal["-", "--", ":"], ...]] = ("-", "--", ":")
STYLES: Final[tuple[Style, ...]] = tuple(
    (color, marker, dash)
    for dash in _DASHES
    for color, marker in (
        (BLUE, "o"),
        (VERMILION, "s"),
        (GREEN, "^"),
        (PURPLE, "D"),
        (ORANGE, "v"),
        (SKY, "P"),
        (BLACK, "X"),
    )
)


class NamedRun(Protocol):
    """What a figure says of the run that it is of."""

    @property
    def experiment(self) -> str:
        """The name of the experiment."""

    @property
    def run_id(self) -> str:
        """The name of the run."""

    @property
    def is_dry_run(self) -> bool:
        """Whether no model was loaded."""


class Frame:
    """A figure with its title and remark above, its legend and notes below, and room between them."""

    def __init__(
        self,
        named: NamedRun,
        *,
        title: str,
        remark: str = "",
        body_in: float,
        legend: Sequence[Line2D] = (),
        notes: Sequence[str] = (),
        width_in: float = WIDTH_IN,
    ) -> None:
        """Make a figure.

        Args:
            named: the run, for the last line.
            title: wrapped where it is too long.
            remark: how to read it, below the title.
            body_in: height of what is drawn, with its axes' words.
            legend: signs that name themselves.
            notes: sentences below, wrapped.
            width_in: of the figure.
        """
        run = " ".join(part for part in (named.experiment, named.run_id) if part)
        notes = [*notes, *([DRY_RUN] if named.is_dry_run else []), *([run] if run else [])]
        inner = width_in - 2 * MARGIN_IN
        titles = wrapped(title, TITLE_PT, inner, bold=True)
        remarks = wrapped(remark, SMALL_PT, inner)
        below = [line for note in notes for line in wrapped(note, SMALL_PT, inner)]
        columns = _legend_columns(legend, inner)
        head_in = MARGIN_IN + len(titles) * line_in(TITLE_PT) + len(remarks) * line_in(SMALL_PT) + _GAP_IN
        legend_in = -(-len(legend) // columns) * _LEGEND_ROW_IN + _GAP_IN if legend else 0.0
        notes_in = len(below) * line_in(SMALL_PT) + MARGIN_IN
        self.width_in = width_in
        self.height_in = head_in + body_in + legend_in + notes_in
        self.inner_in = inner
        self.figure = Figure(figsize=(width_in, self.height_in), facecolor="white")
        self._head_in = head_in
        self.lines(titles, MARGIN_IN, MARGIN_IN - head_in, TITLE_PT, bold=True)
        self.lines(remarks, MARGIN_IN, MARGIN_IN + len(titles) * line_in(TITLE_PT) - head_in, SMALL_PT)
        self.lines(below, MARGIN_IN, body_in + legend_in, SMALL_PT, color="#555555")
        if legend:
            self.figure.legend(
                handles=list(legend),
                loc="upper left",
                bbox_to_anchor=(
                    MARGIN_IN / width_in,
                    self.from_top(body_in + _GAP_IN / 2),
                ),
                ncols=columns,
                frameon=False,
                fontsize=SMALL_PT,
                borderpad=0.0,
                borderaxespad=0.0,
                handlelength=1.8,
                handletextpad=0.5,
                columnspacing=1.0,
                labelspacing=0.35,
            )

    def from_top(self, top_in: float) -> float:
        """Return the height of a place that far below the upper end of the body, as a share of the figure's."""
        return 1 - (self._head_in + top_in) / self.height_in

    def axes(self, left_in: float, top_in: float, width_in: float, height_in: float) -> Axes:
        """Return axes whose upper left corner lies that far right and below that of the body."""
        axes = self.figure.add_axes(
            (
                left_in / self.width_in,
                self.from_top(top_in + height_in),
                width_in / self.width_in,
                height_in / self.height_in,
            )
        )
        axes.tick_params(labelsize=SMALL_PT, colors=TEXT, length=3)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(GREY)
        return axes

    def lines(
        self,
        lines: Sequence[str],
        left_in: float,
        top_in: float,
        size: float,
        *,
        bold: bool = False,
        color: str = TEXT,
        align: str = "left",
    ) -> None:
        """Write lines of text, the first one that far below the upper end of the body."""
        for number, line in enumerate(lines):
            self.figure.text(
                left_in / self.width_in,
                self.from_top(top_in + (number + 0.5) * line_in(size)),
                line,
                fontsize=size,
                weight="bold" if bold else "normal",
                color=color,
                ha=align,
                va="center",
                parse_math=False,
            )


def line_in(size: float) -> float:
    """Return the height of a line of letters of that many points."""
    return size * _LINE / _POINTS


@lru_cache(maxsize=4096)
def text_in(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width of a text in inches."""
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    width, _, _ = TextToPath().get_text_width_height_descent(text, font, ismath=False)
    return float(width) * _HINTED / _POINTS


def wrapped(text: str, size: float, width_in: float, *, bold: bool = False) -> list[str]:
    """Return the lines of a text; a word that is wider than a line is cut by letters."""
    space = text_in("a b", size, bold=bold) - text_in("ab", size, bold=bold)
    lines: list[str] = []
    line: list[str] = []
    used = 0.0
    # At ordinary spaces only: a number keeps its unit.
    words = [part for word in text.split(" ") if word for part in _parts(word, size, width_in, bold=bold)]
    for word in words:
        wide = text_in(word, size, bold=bold)
        if line and used + space + wide > width_in:
            lines.append(" ".join(line))
            line, used = [], 0.0
        used += wide + (space if line else 0.0)
        line.append(word)
    return [*lines, " ".join(line)] if line else lines


def fitted(text: str, size: float, width_in: float) -> str:
    """Return a text without its middle where it is too wide: names tend to differ at their ends."""
    limit = len(text)
    short = text
    while text_in(short, size) > width_in and limit > 3:  # noqa: PLR2004 - one letter on either side of the sign
        limit -= 1
        short = shortened(text, limit)
    return short


def _parts(word: str, size: float, width_in: float, *, bold: bool) -> list[str]:
    """Return a word, or the pieces of it that fit into a line."""
    n_fitting = len(word)
    while n_fitting > 1 and text_in(word[:n_fitting], size, bold=bold) > width_in:
        share = width_in / text_in(word[:n_fitting], size, bold=bold)
        n_fitting = max(1, min(n_fitting - 1, int(n_fitting * share)))
    return [word[start : start + n_fitting] for start in range(0, len(word), n_fitting)]


def unmathed(text: str) -> str:
    """Return a text that axes show as it is: between two dollars they would set a formula."""
    return text.replace("$", r"\$")


def _legend_columns(legend: Sequence[Line2D], width_in: float) -> int:
    if not legend:
        return 1
    widest = max(text_in(str(handle.get_label()), SMALL_PT) for handle in legend) + _HANDLE_IN
    return max(1, min(len(legend), int(width_in / widest)))
