"""The curve of a lens that learns: the loss of each measurement, on texts that it learns from and on others."""

import csv
from pathlib import Path

from matplotlib.figure import Figure

from overnight.report.drawing import BLUE, TEXT, VERMILION, save_figure


def draw_losses(table: Path, folder: Path) -> None:
    """Draw ``losses.png`` and ``losses.pdf``.

    Args:
        table: ``step,loss,held_out_loss``, nats a token; an empty loss is none.
        folder: where the figures go.
    """
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(6.0, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for column, colour, name in (
        ("loss", BLUE, "texts that it learns from"),
        ("held_out_loss", VERMILION, "held-out texts"),
    ):
        points = [(int(row["step"]), float(row[column])) for row in rows if row[column]]
        axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=3, label=name)
    axes.set_xlabel("step", color=TEXT)
    axes.set_ylabel("loss, nats a token", color=TEXT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    save_figure(folder, "losses", figure)
