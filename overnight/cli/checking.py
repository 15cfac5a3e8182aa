"""``overnight check``: whether a model or a dataset is what a sweep needs."""

from typing import Annotated

import typer

from overnight.cli.app import AsJson, app

check = typer.Typer(
    help="Check a model or a dataset before a night is spent on it; exit code 1 where it will not do.",
    rich_markup_mode=None,
)
app.add_typer(check, name="check")


@check.command()
def model(
    name: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A name in config/models, a GGUF file, or a folder with safetensors."
        ),
    ],
    threads: Annotated[int | None, typer.Option(min=1, help="Of the engine; the physical cores.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check a model's weights, hold it, ask it one thing with log-probabilities, and let it go."""
    from overnight.cli.check_views import show_model_check  # noqa: PLC0415

    show_model_check(name, threads, as_json=as_json)


@check.command()
def dataset(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="A name in config/datasets.")],
    as_json: AsJson = False,
) -> None:
    """Read a whole dataset and say what is in it: fields, answers, lengths, repeated questions, three examples."""
    from overnight.cli.check_views import show_dataset_check  # noqa: PLC0415

    show_dataset_check(name, as_json=as_json)
