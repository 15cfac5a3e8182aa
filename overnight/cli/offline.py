"""Commands that need no run: scores, statistics, costs and prompts from files that somebody has."""

from pathlib import Path
from typing import Annotated

import typer

from overnight.cli.app import AsJson, app


@app.command()
def score(
    pred_csv: Annotated[Path, typer.Option(help="Predictions: custom_id and response_text at least.")],
    prepared_dir: Annotated[Path, typer.Option(help="A run folder, or a folder of prepared items.")],
    out_dir: Annotated[Path, typer.Option(help="Where per_item_scores.csv goes, and squad.json.")],
    rouge_l: Annotated[bool, typer.Option("--rouge-l", help="Compute ROUGE-L too.")] = False,
    strategy: Annotated[
        str, typer.Option(help="When a passage bears a claim out: overlap, baseline.")
    ] = "overlap",
    min_token_overlap: Annotated[
        float, typer.Option(help="Share of a reply's words that its passage must have.")
    ] = 0.6,
    as_json: AsJson = False,
) -> None:
    """Score a table of predictions, in whatever order it is, without its run."""
    from overnight.cli.scoring import score_table  # noqa: PLC0415

    score_table(
        pred_csv,
        prepared_dir,
        out_dir,
        strategy=strategy,
        min_token_overlap=min_token_overlap,
        with_rouge=rouge_l,
        as_json=as_json,
    )


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
