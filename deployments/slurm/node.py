"""What runs on the node: Prefect's own runner of a flow run, and an ear for SLURM.

SLURM tells a job by USR1 that its time is nearly up, and by TERM that it has to go. The runner is told to leave then
without a verdict, because it is SLURM that knows how a job ended, and whether it goes on.
"""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from types import FrameType
from urllib.parse import urlsplit

_PATIENCE_S = 20
_CANNOT_BEGIN = 78  # EX_CONFIG
_LOOPBACK = {"127.0.0.1", "localhost", "::1", "0.0.0.0"}  # noqa: S104 - compared with, not listened on


def main() -> int:
    """Carry out the flow run that the environment names; return the exit code of the job."""
    if sys.platform == "win32":  # no SLURM has such nodes, and what it says is not heard there
        return _CANNOT_BEGIN
    if problem := what_is_wrong(os.environ.get("PREFECT_API_URL")):
        print(f"{socket.gethostname()}: {problem}", file=sys.stderr, flush=True)  # noqa: T201
        return _CANNOT_BEGIN
    is_warned = False
    runner = subprocess.Popen(
        [sys.executable, "-m", "prefect", "flow-run", "execute"],
        env=os.environ | {"PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "relinquish"},
    )

    def leave(number: int, _: FrameType | None) -> None:
        nonlocal is_warned
        is_warned = is_warned or number == signal.SIGUSR1
        print(f"SLURM says {signal.Signals(number).name}: stopping", flush=True)  # noqa: T201
        runner.terminate()

    signal.signal(signal.SIGUSR1, leave)
    signal.signal(signal.SIGTERM, leave)
    code = runner.wait()
    if is_warned and code:
        if "--requeue-at-time-limit" in sys.argv:
            subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=False)  # noqa: S607
        # The job is not over for SLURM: what comes next, the limit or the queue again, is its to say.
        while True:
            signal.pause()
    return code


def what_is_wrong(url: str | None) -> str | None:
    """Return why a flow run cannot be carried out here, in one line; None where it can."""
    if not url:
        return "PREFECT_API_URL is not set; set it where the worker is started"
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=_PATIENCE_S):  # noqa: S310 - the user's own address
            return None
    except urllib.error.HTTPError:
        return None  # something answers, and Prefect's client can say more about it
    except OSError as error:
        reason = getattr(error, "reason", error)
    hint = (
        "that address is every machine's own: start the server by `prefect server start --host 0.0.0.0`, and set "
        "PREFECT_API_URL to the name of its machine where the worker is started"
        if urlsplit(url).hostname in _LOOPBACK
        else "open the way from the nodes to the server"
    )
    return f"Prefect's server does not answer at {url} ({reason}); {hint}"


if __name__ == "__main__":
    sys.exit(main())
