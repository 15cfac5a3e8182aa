"""What a host says to the process that started it: one line of JSON on standard output."""

import json
from collections.abc import Sequence

from overnight.engines.placement import Placement
from overnight.errors import GpuUnusable, OutOfMemory


def say_ready(url: str, load_s: float, placement: Placement | None, urls: Sequence[str] = ()) -> None:
    """Say that the model is loaded and answers.

    Args:
        url: where.
        load_s: seconds that loading took.
        placement: where the model lies; None where nobody can say it.
        urls: of all processes that hold it, where there are several; the first is `url`.
    """
    where = None if placement is None else placement.as_row()
    _say({"url": url, "urls": list(urls or [url]), "load_s": round(load_s, 3), "placement": where})


def say_refused(error: OutOfMemory | GpuUnusable) -> None:
    """Say why the model is not loaded, where that is a decision and no accident."""
    _say({"refused": type(error).__name__, "message": str(error)})


def _say(message: dict[str, object]) -> None:
    print(json.dumps(message), flush=True)  # noqa: T201 - the message to the parent
