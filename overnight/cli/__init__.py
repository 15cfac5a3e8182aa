"""The terminal: a thin shell; everything heavy is imported when a command needs it."""

import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code.

    0 done, 1 failed trials, damaged files or parts that were not measured, 2 wrong usage, 130 stopped.
    """
    import typer  # noqa: PLC0415 - `import overnight.cli` stays light

    # These register their commands.
    from overnight.cli import bench, caches, checking, deploying, offline, plots  # noqa: F401, PLC0415
    from overnight.cli.app import app  # noqa: PLC0415
    from overnight.cli.arguments import normalised  # noqa: PLC0415
    from overnight.errors import (  # noqa: PLC0415
        DamageFound,
        NotMeasured,
        OvernightError,
        StopRequested,
        TrialsFailed,
    )

    # Typer brings a click of its own in some versions and not in others; this is the base of its errors in both.
    usage_error: Any = typer.BadParameter.__mro__[1]
    arguments = normalised(sys.argv[1:] if argv is None else argv) or ["--help"]
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a file that cannot hold a character is no reason to end
    try:
        app(arguments, prog_name="overnight", standalone_mode=False)
    except (TrialsFailed, DamageFound, NotMeasured) as error:
        _leave(str(error), 1)
    except StopRequested as error:
        _leave(str(error), 130)
    except OvernightError as error:
        _leave(str(error), 2)
    except usage_error as error:
        _leave(f"{error.format_message()} (`overnight --help` lists what there is)", 2)
    except (KeyboardInterrupt, typer.Abort):
        _leave("stopped", 130)
    sys.exit(0)


def _leave(message: str, code: int) -> None:
    print(f"overnight: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201 - the terminal is our output
    sys.exit(code)
