"""Child processes that serve on loopback, and that surely end."""

import contextlib
import socket
import subprocess
import sys
from typing import Any

_LEAVE_S = 10.0


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def apart() -> dict[str, Any]:
    """Return what ``Popen`` is told for a child that Ctrl-C in our terminal does not reach: we end it ourselves."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def end_child(process: "subprocess.Popen[Any]") -> None:
    """End a child that leaves when its standard input ends, by force if it does not, and close its pipes."""
    if process.stdin is not None and not process.stdin.closed:
        with contextlib.suppress(BrokenPipeError):  # it is gone already
            process.stdin.close()
    try:
        process.wait(timeout=_LEAVE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None and not process.stdout.closed:
        process.stdout.close()
