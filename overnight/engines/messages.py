"""What a host says to the process that started it: one line of JSON on standard output."""

import json

from overnight.engines.placement import Placement
from overnight.errors import GpuUnusable, OutOfMemory


def say_ready(url: str, load_s: float, placement: Placement | None) -> None:
    """Say that the model is loaded and answers."""
    where = None if placement is None else placement.as_row()
    _say({"url": url, "load_s": round(load_s, 3), "placement": where})


def say_refused(error: OutOfMemory | GpuUnusable) -> None:
    """Say why the model is not loaded, where that is a decision and no accident."""
    _say({"refused": type(error).__name__, "message": str(error)})


def _say(message: dict[str, object]) -> None:
    print(json.dumps(message), flush=True)  # noqa: T201 - the message to the parent
