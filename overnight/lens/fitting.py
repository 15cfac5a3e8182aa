"""The process that fits a lens.

Started as ``python -m overnight.lens.fitting``. The first line of standard input is the settings as JSON; the end of
standard input ends it. A line of JSON on standard output is one of

    {"stage": ..., "done": n, "of": n}                      how far it is
    {"step": n, "loss": x, "held_out_loss": x}              a measurement of the decoder
    {"refused": "OutOfMemory", "message": ...}              why there is no lens
    {"fitted": {...}}                                       what is known of the lens, whose folder is there now

What was computed is kept in the folder ``work``, so that a process that was killed is gone on from.
"""

import json
import logging
import os
import sys
import threading
from typing import Any

from overnight.engines.limits import limit_memory
from overnight.errors import EngineError, StoreError, UsageError


def main() -> None:
    """Fit, and leave with the process that asked for it."""
    settings = json.loads(sys.stdin.readline())
    limit_memory(settings["memory_limit_bytes"])
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in the hosts of models
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = str(settings["threads"])
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")
    threading.Thread(target=_leave_with_the_parent, daemon=True).start()
    from overnight.lens.fitter import fit  # noqa: PLC0415 - imports torch, once the threads are set

    try:
        say({"fitted": fit(settings, say)})
    except (EngineError, StoreError, UsageError) as error:
        say({"refused": type(error).__name__, "message": str(error)})


def say(message: dict[str, Any]) -> None:
    """Tell the process that asked."""
    print(json.dumps(message, allow_nan=False), flush=True)  # noqa: T201 - the message to the parent


def _leave_with_the_parent() -> None:
    sys.stdin.read()
    os._exit(0)  # what is kept is kept at once, and the rest can be done again


if __name__ == "__main__":
    main()
