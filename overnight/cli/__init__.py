"""The terminal: a thin shell; everything heavy is imported when a command needs it."""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 0 done, 1 failed trials, 2 wrong usage, 130 stopped."""
    from overnight.cli.app import app  # noqa: PLC0415 - `import overnight.cli` stays light
    from overnight.cli.arguments import normalised  # noqa: PLC0415
    from overnight.errors import OvernightError, StopRequested, TrialsFailed  # noqa: PLC0415

    try:
        app(normalised(sys.argv[1:] if argv is None else argv))
    except TrialsFailed as error:
        _leave(str(error), 1)
    except StopRequested as error:
        _leave(str(error), 130)
    except OvernightError as error:
        _leave(str(error), 2)
    except KeyboardInterrupt:
        _leave("stopped", 130)


def _leave(message: str, code: int) -> None:
    print(f"overnight: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201 - the terminal is our output
    sys.exit(code)
