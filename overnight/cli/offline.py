"""Commands that need no run: scores, statistics, costs and prompts from files that somebody has."""

from pathlib import Path
from typing import Annotated

import typer

from overnight.cli.app import app


@app.command()
def stats(
    per_item_csv: Annotated[
        Path,
        typer.Option(help="A per_item_scores.csv, or a table of one line an item and one column a system."),
    ],
    out_path: Annotated[
        Path, typer.Option(help="A .json file, or a folder for significance.json or comparisons.json.")
    ],
    metric: Annotated[str | None, typer.Option(help="Which metric of a table of systems.")] = None,
    resamples: Annotated[int, typer.Option(min=1, help="Of each bootstrap and each sign-flip test.")] = 5000,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="Of every random stream.")] = 1337,
) -> None:
    """Compare the arms, or the systems, of a table of scores item by item."""
    from overnight.cli.statistics import show_statistics  # noqa: PLC0415

    show_statistics(
        per_item_csv, out_path, metric=metric, resamples=resamples, confidence=confidence, seed=seed
    )
