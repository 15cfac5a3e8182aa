"""The process that is the Prefect API of a run without a server; nothing of Prefect is imported to begin it.

It takes longer to be there than everything else at the start of a run, which goes on meanwhile.
"""

import atexit
import functools
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import IO

from overnight.processes import apart, end_child, free_port

# One row a transaction, the default, locks SQLite so often that some task runs are answered 503 and wait 2 s.
_SETTINGS = {"PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "500"}


@dataclass(frozen=True, slots=True)
class ApiProcess:
    """An API that begins, or serves."""

    url: str
    process: subprocess.Popen[bytes]
    said: IO[bytes]

    def end(self) -> None:
        """End it."""
        end_child(self.process)
        self.said.close()


@functools.cache
def begin() -> ApiProcess:
    """Start the API of this process, which lives as long as this one does; there is one."""
    port = free_port()
    said = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this process
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.api_host", str(port)],
        env=_SETTINGS | os.environ,
        stdin=subprocess.PIPE,
        stdout=said,
        stderr=said,
        **apart(),  # Ctrl-C is for us
    )
    api = ApiProcess(f"http://127.0.0.1:{port}/api", process, said)
    # At the very end: Prefect sends its last log lines and events when the interpreter leaves.
    atexit.register(api.end)
    return api
