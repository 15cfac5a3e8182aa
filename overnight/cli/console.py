"""The console that commands print to."""

from rich.console import Console

_WIDTH_WITHOUT_TERMINAL = 160  # a log file has no edge; wide tables stay whole


def console() -> Console:
    """Return a console as wide as the terminal, or wide enough for a log."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=_WIDTH_WITHOUT_TERMINAL)
