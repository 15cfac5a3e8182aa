"""What the processes that hold a model with torch have in common: from the settings on standard input to their end."""

import asyncio
import json
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, Protocol

from overnight.engines.limits import limit_memory
from overnight.engines.messages import say_ready, say_refused
from overnight.engines.placement import Placement
from overnight.engines.transformers.serving import Handler, LoopbackServer
from overnight.errors import GpuUnusable, OutOfMemory

HEALTH = "GET /health"


class Held(Protocol):
    """A loaded model."""

    @property
    def placement(self) -> Placement:
        """Where it lies."""
        ...

    def start(self) -> None:
        """Begin to work on what is asked."""
        ...

    def handlers(self) -> dict[str, Handler]:
        """Return what answers, by ``METHOD /path``."""
        ...


def run_host(hold: Callable[[dict[str, Any]], Held]) -> None:
    """Load what standard input names, serve, and leave with the process that asked for it; see ``serve_held``."""
    serve_held(hold, json.loads(sys.stdin.readline()), say_ready)


def serve_held(
    hold: Callable[[dict[str, Any]], Held],
    settings: dict[str, Any],
    say: Callable[[str, float, Placement], None],
) -> None:
    """Load, serve, and leave when standard input ends.

    Args:
        hold: loads the model that the settings name; what it imports is imported after the threads are set.
        settings: what to hold, and how.
        say: told the address, the seconds that loading took and where the model lies, once it serves.
    """
    limit_memory(settings["memory_limit_bytes"])
    # Read when torch is loaded. Threads that spin while they wait for each other take the processor from the one that
    # they wait for, as soon as anything else runs on the machine: measured, five to ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # bitsandbytes and the tokenizer have pools of their own, which nothing but these sets.
    os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = str(settings["threads"])
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")
    threading.Thread(target=_leave_with_the_parent, daemon=True).start()
    started = time.monotonic()
    try:
        held = hold(settings)
    except (GpuUnusable, OutOfMemory) as error:
        say_refused(error)
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, the last line of the log says it in one
        traceback.print_exc()
        from overnight.engines.transformers.memory import is_out_of_memory  # noqa: PLC0415 - imports torch

        said = " ".join(str(error).split())
        lack = "out of memory: " if is_out_of_memory(error) else ""
        print(f"{lack}{type(error).__name__}: {said}", file=sys.stderr)  # noqa: T201 - the log of the host
        sys.exit(1)
    load_s = time.monotonic() - started
    held.start()
    asyncio.run(_serve(held, settings, load_s, say))


def _leave_with_the_parent() -> None:
    sys.stdin.read()
    os._exit(0)  # a batch that nobody waits for any more may be under way


async def _serve(
    held: Held, settings: dict[str, Any], load_s: float, say: Callable[[str, float, Placement], None]
) -> None:
    server = await LoopbackServer(settings["token"], held.handlers()).start(settings["port"])
    say(f"http://127.0.0.1:{settings['port']}", load_s, held.placement)
    await server.serve_forever()
