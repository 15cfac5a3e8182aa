"""``overnight plot``: figures of results that are there already, of several runs in one picture."""

from pathlib import Path
from typing import Annotated

import typer

from overnight.cli.app import EXPERIMENTS, ExperimentsDir, app

plot = typer.Typer(help="Draw results of several runs in one picture.", rich_markup_mode=None)
app.add_typer(plot, name="plot")


@plot.callback()
def _plot() -> None:
    """Draw results of several runs in one picture."""


@plot.command(name="k-sweep")
def k_sweep(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Runs of best-of-K sweeps, or k_sweep_results.json files."),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where the figure goes, as .png and as .pdf.")
    ] = Path("k_sweep.png"),
    measure: Annotated[
        str,
        typer.Option(help="fve, bias_aware_fve, mse, normalised_mse, r_squared_grand or cosine."),
    ] = "bias_aware_fve",
    hist: Annotated[
        bool, typer.Option("--hist", help="Draw errors and norms over vectors as well, beside it.")
    ] = False,
    experiments_dir: ExperimentsDir = EXPERIMENTS,
) -> None:
    """Draw what the best of K texts recovers over K, a line a trial, with its intervals."""
    from overnight.cli.plotting import plot_k_sweeps  # noqa: PLC0415

    plot_k_sweeps(runs, out, measure, experiments_dir, with_histograms=hist)
