"""Commands that need no run: scores, statistics, costs and prompts from files that somebody has."""

from pathlib import Path
from typing import Annotated

import typer

from overnight.cli.app import AsJson, app


@app.command()
def costs(
    pred_csv: Annotated[Path | None, typer.Option(help="A predictions.csv.")] = None,
    usage_json: Annotated[
        Path | None, typer.Option(help="A JSON file with token counts; wins over --pred_csv.")
    ] = None,
    config: Annotated[str | None, typer.Option(help="A sweep whose execution.pricing is taken.")] = None,
    model: Annotated[str | None, typer.Option(help="Whose row of the config's price table counts.")] = None,
    input_per_million: Annotated[
        float | None, typer.Option(help="USD per million prompt tokens; 0.15 without a config.")
    ] = None,
    output_per_million: Annotated[
        float | None, typer.Option(help="USD per million completion tokens; 0.60 without a config.")
    ] = None,
    batch_discount: Annotated[
        float | None, typer.Option(help="Multiplier of both prices; 1 without a config.")
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Take its arm's mean for an answer without token counts.")
    ] = False,
    out_path: Annotated[Path | None, typer.Option(help="Write the JSON there as well.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what the tokens of a file would cost at a hosted service."""
    from overnight.cli.costing import price_files, show_costs  # noqa: PLC0415

    prices = {
        "input_per_million": input_per_million,
        "output_per_million": output_per_million,
        "batch_discount": batch_discount,
    }
    record = price_files(pred_csv, usage_json, config=config, model=model, prices=prices, estimate=estimate)
    show_costs(record, out_path, as_json=as_json)


@app.command(name="audit-prompts")
def audit_prompts(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONFIG|PROMPT_SET]...", help="Sweeps or prompt sets; all sets by default."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Whose tokens to count, if it was measured; the sweep's first.")
    ] = None,
    input_per_million: Annotated[
        float | None, typer.Option(help="USD per million prompt tokens; the sweep's, or 0.15.")
    ] = None,
    out_json: Annotated[Path | None, typer.Option(help="Write the JSON there as well.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say how long system prompts are, what they cost, and what in them contradicts the task."""
    from overnight.cli.auditing import audit_named, show_audit  # noqa: PLC0415

    record = audit_named(names or [], model=model, input_per_million=input_per_million)
    show_audit(record, out_json, as_json=as_json)
