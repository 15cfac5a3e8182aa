"""``overnight cache``: what is kept for later runs, whether it is whole, and taking it away."""

from typing import Annotated

import typer

from overnight.cli.app import AsJson, app

cache = typer.Typer(help="List, check and clear what is kept for later runs.", rich_markup_mode=None)
app.add_typer(cache, name="cache")

Kinds = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KIND]...", help="items, models, requests, ...; all by default."),
]


@cache.command()
def ls(as_json: AsJson = False) -> None:
    """List the caches: how many entries, how large, how old."""
    from overnight.cli.cache_views import show_caches  # noqa: PLC0415

    show_caches(as_json=as_json)


@cache.command()
def verify(kinds: Kinds = None, as_json: AsJson = False) -> None:
    """Read everything and check it against its digest; exit code 1 where something is not what it was."""
    from overnight.cli.cache_views import verify_caches  # noqa: PLC0415

    verify_caches(kinds or None, as_json=as_json)


@cache.command()
def clear(
    kinds: Kinds = None,
    everything: Annotated[bool, typer.Option("--all", help="All kinds.")] = False,
    older_than: Annotated[
        float | None,
        typer.Option(
            "--older-than",
            "--older-than-days",
            min=0,
            metavar="DAYS",
            help="Only what has not changed for so many days.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take caches away; what another process is using stays."""
    from overnight.cli.cache_views import clear_caches  # noqa: PLC0415

    clear_caches(
        kinds or None, everything=everything, older_than_days=older_than, is_sure=yes, as_json=as_json
    )
