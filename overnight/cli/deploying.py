"""The command that tells a Prefect server which runs it can start."""

from pathlib import Path
from typing import Annotated

import typer

from overnight.cli.app import app


@app.command()
def deploy(
    file: Annotated[
        Path | None,
        typer.Argument(help="A prefect.yaml; that of this folder, or else the shipped one, by default."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Load every flow, check every parameter, look up what sweeps name; ask no server."
        ),
    ] = False,
) -> None:
    """Put pools, deployments and automations onto a Prefect server, any number of times."""
    from overnight.cli.console import console as make_console  # noqa: PLC0415
    from overnight.cli.launching import deployer  # noqa: PLC0415

    console = make_console()
    for line in deployer().check_file(file) if check else deployer().deploy_file(file):
        console.print(line, highlight=False, markup=False)
