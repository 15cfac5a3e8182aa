"""``overnight bench``: measurements of this machine that users are told about."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from overnight.cli.app import app
from overnight.errors import UsageError

Quick = Annotated[bool, typer.Option("--quick", help="Small sizes: noisy, for trying out.")]
Out = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Of the records and their table; experiments/benchmarks/TIME."),
]
_QUICK = 2  # prompts and traits of a capture


class _WithParts(TyperGroup):
    """The commands below, and one for every script that a checkout has in ``benchmarks/``."""

    def list_commands(self, ctx: Any) -> list[str]:
        from overnight.cli.bench_parts import find_parts  # noqa: PLC0415

        return sorted({*super().list_commands(ctx), *find_parts()})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return super().get_command(ctx, cmd_name) or _command_of(cmd_name)


def _command_of(name: str) -> Any:
    """Return the command of a benchmark; None where the checkout has none of this name."""
    from overnight.cli.bench_parts import find_parts, require_parts, run_parts  # noqa: PLC0415

    known = find_parts()
    if name not in known:
        if not known and name in _KNOWN_PARTS:
            require_parts()
        return None
    one = typer.Typer(add_completion=False, rich_markup_mode=None)

    @one.command(
        name,
        help=f"Measure {known[name].measures}.",
        epilog="Further options are the script's own; --help-options lists them.",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )
    def part(
        ctx: typer.Context,
        quick: Quick = False,
        out: Out = None,
        help_options: Annotated[bool, typer.Option("--help-options", help="List further options.")] = False,
    ) -> None:
        if help_options:
            sys.exit(subprocess.call([sys.executable, str(known[name].script), "--help"]))
        run_parts([known[name]], out, ctx.args, quick=quick)

    return typer.main.get_command(one)


# So that an installed package says where they are, in place of not knowing them.
_KNOWN_PARTS = ("best-of-k", "engines", "prompt-sweep", "scaling", "startup", "uncertainty")

bench = typer.Typer(
    cls=_WithParts,
    help="Measure this machine, and this project on it, against baselines.",
    rich_markup_mode=None,
)
app.add_typer(bench, name="bench")


@bench.callback()
def _bench() -> None:
    """Keep the name of the command where there is one only."""


@bench.command(name="all")
def all_(
    quick: Quick = False,
    out: Out = None,
    only: Annotated[str | None, typer.Option(metavar="A,B", help="These parts.")] = None,
    skip: Annotated[str | None, typer.Option(metavar="A,B", help="All but these parts.")] = None,
    table: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="Write the table there as well.")
    ] = None,
) -> None:
    """Measure everything that targets are set for, part by part; what could not be measured is named at the end."""
    from overnight.cli.arguments import split_list  # noqa: PLC0415
    from overnight.cli.bench_parts import chosen_parts, run_parts  # noqa: PLC0415

    parts = chosen_parts(split_list(only) or (), split_list(skip) or ())
    run_parts(parts, out, quick=quick, table=table)


@bench.command(name="table")
def table_(
    records: Annotated[list[Path], typer.Argument(metavar="RECORD.json...", help="What benchmarks wrote.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="Write it there; printed otherwise.")
    ] = None,
) -> None:
    """Render records of benchmarks as Markdown: figure, baseline, ratio, target, verdict, machine and date."""
    from overnight.cli.bench_table import read_record, render_table, write_table  # noqa: PLC0415

    if out is None:
        typer.echo(render_table([read_record(record) for record in records]), nl=False)
    else:
        write_table(records, out)


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
    quick: Quick = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write a record there as `overnight bench all` does."),
    ] = None,
) -> None:
    """Capture prompts with a process and a load for each prompt and trait, and then with one for all."""
    if out is not None:
        from overnight.cli.bench_parts import require_parts, run_parts  # noqa: PLC0415

        if path is not None:
            raise UsageError("--json FILE and --out FOLDER: found both, wanted one of them")
        sizes = {"--prompts": prompts, "--traits": traits, "--max-new-tokens": max_new_tokens}
        options = [text for name, value in sizes.items() for text in (name, str(value))]
        run_parts(
            [require_parts()["capture"]], out, ["--model", model, *([] if quick else options)], quick=quick
        )
        return
    if quick:
        prompts, traits = min(prompts, _QUICK), min(traits, _QUICK)
    from overnight.cli.capture_bench import show_capture_bench  # noqa: PLC0415

    show_capture_bench(model, prompts, traits, max_new_tokens, path)
