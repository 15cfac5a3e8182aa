"""A stage of a benchmark of sizes as a process: ``STAGE SIZE PLACE RESULT.json``."""

import gc
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from peak_memory import peak_bytes

# A stage gets a size and a place, makes ready what is not measured, and returns the work; the work may return the
# bytes that each takes on disk.
Stage = Callable[[int, Path], Callable[[], float | None]]


def measure(stages: Mapping[str, Stage]) -> None:
    """Carry out the stage that the command line names, and write seconds and peak memory of this process."""
    name, size, place, result = sys.argv[1:]
    work = stages[name](int(size), Path(place))
    gc.collect()
    started = time.perf_counter()
    bytes_each = work()
    said: dict[str, Any] = {"seconds": time.perf_counter() - started, "peak_mb": peak_bytes() / 1e6}
    Path(result).write_text(json.dumps(said | {"bytes_each": bytes_each}), encoding="utf-8")
