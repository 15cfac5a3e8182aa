"""Several processes that hold the same model, as one child: torchrun's agent around them, ended with their parent.

Started by ``EngineHost`` as ``python -m overnight.engines.transformers.group``. The first line of standard input is the
settings as JSON; one line on standard output names all of them once they all serve; the end of standard input ends
them. Whichever dies takes the others down, and this process goes as that one went; what it said is in the log.

The ranks have standard input and output from here: both end with this process, however it ends, and the ranks leave
when their input ends, as every host does.
"""

import json
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import psutil

from overnight.engines.transformers.rank import SETTINGS
from overnight.processes import free_port

_RANK = "overnight.engines.transformers.rank"
_LEAVE_S = 5.0
_LOOPBACK = "lo"
_PIECE = 1 << 16


def main() -> None:
    """Start the ranks, and stay until they end or the parent does."""
    settings = json.loads(sys.stdin.readline())
    n_ranks = settings["num_processes"]
    _set_environment(settings, n_ranks)
    _stand_between()
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError  # noqa: PLC0415 - seconds
    from torch.distributed.run import parse_args, run  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="overnight-ranks-") as logs:
        arguments = [
            "--nnodes=1",
            f"--nproc-per-node={n_ranks}",
            "--master-addr=127.0.0.1",
            f"--master-port={free_port()}",
            "--max-restarts=0",
            f"--shutdown-timeout={_LEAVE_S:.0f}",
            f"--log-dir={logs}",
            "--tee=2",  # what a rank prints to its log is in ours as well
            "--module",
            _RANK,
        ]
        try:
            run(parse_args(arguments))  # type: ignore[no-untyped-call]
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            last = _last_line(Path(logs), rank)
        else:
            return
    _leave_as(rank, n_ranks, failure.exitcode, last)


def _set_environment(settings: dict[str, Any], n_ranks: int) -> None:
    """Share the processor out, and tell the ranks what they are to hold: none of them alone could read our input."""
    threads = max(1, settings["threads"] // n_ranks)
    os.environ[SETTINGS] = json.dumps(settings | {"threads": threads})
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE"] = "[rank ${rank}] "
    if _LOOPBACK in psutil.net_if_addrs():
        os.environ.setdefault("GLOO_SOCKET_IFNAME", _LOOPBACK)


def _stand_between() -> None:
    """Give the ranks an input and an output of our own, in place of the parent's."""
    from_parent, to_parent = os.dup(0), os.dup(1)
    input_of_ranks, keeps_them = os.pipe()
    from_ranks, output_of_ranks = os.pipe()
    for mine, standard in ((input_of_ranks, 0), (output_of_ranks, 1)):
        os.dup2(mine, standard)
        os.close(mine)
    threading.Thread(target=_hand_on, args=(from_ranks, to_parent), daemon=True).start()
    threading.Thread(target=_end_with_the_parent, args=(from_parent, keeps_them), daemon=True).start()


def _hand_on(source: int, target: int) -> None:
    while piece := os.read(source, _PIECE):
        os.write(target, piece)


def _end_with_the_parent(from_parent: int, keeps_them: int) -> None:
    while os.read(from_parent, _PIECE):
        pass
    os.close(keeps_them)
    time.sleep(_LEAVE_S)  # the agent, which is the main thread, sees them leave, and so do we
    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(0)


def _last_line(logs: Path, rank: int) -> str | None:
    """Return the last that a rank printed to its log."""
    for path in logs.glob(f"*/attempt_0/{rank}/stderr.log"):
        lines = [line for line in path.read_text("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else None
    return None


def _leave_as(rank: int, n_ranks: int, code: int, last: str | None) -> NoReturn:
    """End as a rank ended, with a line that says so: whoever watches us judges by it why the rank died."""
    how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    said = f"the last it said: {last}" if last else "it said nothing"
    print(f"process {rank} of {n_ranks} (counted from 0) died of {how}; {said}", file=sys.stderr, flush=True)  # noqa: T201
    if sys.platform != "win32" and code == -signal.SIGKILL:
        os.kill(os.getpid(), signal.SIGKILL)
    sys.exit(1)


if __name__ == "__main__":
    main()
