"""Every figure of a best-of-K sweep, as PNG and PDF; the same numbers as in the tables."""

import re
from collections.abc import Iterator
from typing import Final

from overnight.best_of_k.definitions import Measure
from overnight.best_of_k.frontier import DrawCosts
from overnight.best_of_k.record import Point
from overnight.best_of_k.results import frontier_points
from overnight.ids import text_digest
from overnight.report.best_of_k.cost_figure import cost_figure
from overnight.report.best_of_k.curves import comparison_figure, trial_figure
from overnight.report.best_of_k.histograms import histogram_figure
from overnight.report.best_of_k.results import BestOfKReport
from overnight.report.drawing import save_figure
from overnight.report.uncertainty.frame import Frame
from overnight.store.run_folder import RunFolder

MOST_TRIALS: Final = 12  # that have figures of their own
_MOST_COMPARED: Final = 21  # lines that signs tell apart


def write_figures(folder: RunFolder, report: BestOfKReport) -> list[tuple[str, str]]:
    """Write every figure that has something to show, take away those of before that have not.

    Returns:
        Name and title of each.
    """
    before = set(folder.figures.glob("*.p*"))
    written = []
    for name, title, frame in _figures(report):
        save_figure(folder.figures, name, frame.figure)
        written.append((name, title))
    now = {folder.figures / f"{name}.{kind}" for name, _ in written for kind in ("png", "pdf")}
    for path in before - now:
        path.unlink(missing_ok=True)
    return written


def points_of(report: BestOfKReport) -> tuple[Point, ...]:
    """Return every number of texts of every trial with its price; what is efficient is so among all of them."""
    curves = {}
    for one in report.measured:
        results = one.measured
        if results is None:
            continue
        costs = results.costs
        n_usable = costs.n_draws - results.vectors.n_failed_draws
        spent = DrawCosts(
            n_draws=costs.n_draws,
            n_usable=n_usable,
            n_tokens=costs.n_tokens,
            n_timed=costs.n_draws if costs.seconds is not None else 0,
            seconds=costs.seconds or 0.0,
        )
        curves[one.label] = (spent, results.oracle)
    return frontier_points(curves)


def _figures(report: BestOfKReport) -> Iterator[tuple[str, str, Frame]]:
    compared = {one.label: one.measured for one in report.measured[:_MOST_COMPARED] if one.measured}
    if len(compared) > 1:
        title = "What the best of K texts recovers, by trial"
        yield (
            "comparison",
            title,
            comparison_figure(report, compared, report.level, Measure.BIAS_AWARE_FVE),
        )
    for one in report.measured[:MOST_TRIALS]:
        if one.measured is None:
            continue
        name = _file_name(one.slug)
        for measure, what in ((Measure.BIAS_AWARE_FVE, "bias-aware FVE"), (Measure.FVE, "FVE")):
            frame = trial_figure(report, one.label, one.measured, report.level, measure)
            yield f"{name}-{measure.value}", f"{what} of the best of K texts, {one.label}", frame
        spread = histogram_figure(report, one.label, one.spreads) if one.spreads else None
        if spread is not None:
            yield f"{name}-histograms", f"Errors and norms over vectors, {one.label}", spread
    frontier = cost_figure(report, points_of(report))
    if frontier is not None:
        yield "frontier", "What recovery costs", frontier


def _file_name(text: str) -> str:
    """Return a name for a file; texts that it cannot hold in full are told apart by their digests."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._")[:80]
    return plain if plain == text else f"{plain}-{text_digest(text)[:8]}"
