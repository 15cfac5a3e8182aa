"""``overnight bench``: measurements of this machine that users are told about."""

from pathlib import Path
from typing import Annotated

import typer

from overnight.cli.app import app

bench = typer.Typer(help="Measure how well predictions are met on this machine.", rich_markup_mode=None)
app.add_typer(bench, name="bench")


@bench.callback()
def _bench() -> None:
    """Keep the name of the command where there is one only."""


@bench.command()
def memory(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="A name in config/models, a GGUF file, or a folder.")
    ] = "smollm2-135m-instruct-q4_1",
    held: Annotated[
        str | None,
        typer.Option(metavar="fp32|bf16|fp16|int8|nf4", help="By transformers, so; else by its own engine."),
    ] = None,
    settings: Annotated[
        str | None,
        typer.Option(metavar="SLOTSxCONTEXT,...", help="Which, e.g. 1x512,4x2048; eight by default."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the engine; the physical cores.")] = None,
    path: Annotated[Path | None, typer.Option("--json", help="Write all numbers to this file.")] = None,
) -> None:
    """Load a model at several settings and compare what it was said to need with what its process held."""
    from overnight.cli.memory_bench import show_memory_bench  # noqa: PLC0415

    show_memory_bench(model, held, settings, threads, path)


@bench.command()
def capture(
    model: Annotated[
        str,
        typer.Argument(metavar="[MODEL]", help="A name in config/models, or a folder; held by transformers."),
    ] = "smollm2-135m-instruct-fp32",
    prompts: Annotated[int, typer.Option(min=1, max=20, help="How many of the shipped prompts.")] = 20,
    traits: Annotated[int, typer.Option(min=1, max=64, help="Vectors that states are projected on.")] = 4,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Of a reply.")] = 20,
    path: Annotated[Path | None, typer.Option("--json", help="Write all numbers to this file.")] = None,
) -> None:
    """Capture prompts with a process and a load for each prompt and trait, and then with one for all."""
    from overnight.cli.capture_bench import show_capture_bench  # noqa: PLC0415

    show_capture_bench(model, prompts, traits, max_new_tokens, path)
