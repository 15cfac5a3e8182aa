"""Every figure of an uncertainty sweep, as PNG and PDF; the same numbers as in the tables."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from overnight.report.drawing import remove_figure, save_figure
from overnight.report.uncertainty.contrast_figure import contrast_forest
from overnight.report.uncertainty.curve_figures import reliability_diagrams, risk_coverage, roc_curves
from overnight.report.uncertainty.grid_figures import best_performers, profiles
from overnight.report.uncertainty.group_figures import dataset_effect, family_bars
from overnight.report.uncertainty.heat_map import heat_map
from overnight.report.uncertainty.scatter_figures import accuracy_and_auroc, size_effect
from overnight.report.uncertainty.word_figures import findings_table, summary_sheet
from overnight.uncertainty.analysis import Analysis

FIGURES: Final[dict[str, Callable[[Analysis], Figure | None]]] = {
    "auroc_heatmap": heat_map,
    "family_comparison": family_bars,
    "size_effect": size_effect,
    "dataset_effect": dataset_effect,
    "accuracy_vs_auroc": accuracy_and_auroc,
    "profiles": profiles,
    "statistics": contrast_forest,
    "best_performers": best_performers,
    "findings": findings_table,
    "summary": summary_sheet,
    "roc_curves": roc_curves,
    "risk_coverage": risk_coverage,
    "reliability": reliability_diagrams,
}


def write_figures(folder: Path, analysis: Analysis) -> list[str]:
    """Write every figure that has something to show, take away those of before that have not.

    Returns:
        The names of the figures that are there.
    """
    written = []
    for name, draw in FIGURES.items():
        figure = draw(analysis)
        if figure is None:
            remove_figure(folder, name)
        else:
            save_figure(folder, name, figure)
            written.append(name)
    return written
