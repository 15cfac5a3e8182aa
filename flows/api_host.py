"""The Prefect API of a run that has no server: a process of its own, on loopback, that leaves with the run.

Prefect would start one by itself, but in the run's process group, where Ctrl-C ends it while the run is still
putting things in order, and with nothing to end it when the run is killed.
"""

import os
import sys
import threading

import uvicorn

_LEAVE_S = 5.0


def main() -> None:
    """Serve until standard input ends, which it does when whoever started this is gone."""
    from prefect.server.api.server import create_app  # noqa: PLC0415 - takes seconds; only here

    app = create_app(ephemeral=True, final=True)
    config = uvicorn.Config(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", lifespan="on")
    server = uvicorn.Server(config)
    threading.Thread(target=_leave_with_parent, args=(server,), daemon=True).start()
    server.run()


def _leave_with_parent(server: uvicorn.Server) -> None:
    sys.stdin.read()
    server.should_exit = True
    threading.Event().wait(_LEAVE_S)
    os._exit(0)


if __name__ == "__main__":
    main()
