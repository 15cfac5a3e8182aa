"""The project as it is on another system: ``python another_system.py win32|darwin FOLDER [modules]``.

Only the project's own code sees another standard library: its imports are answered with modules that lack what the
documentation of Python says is not available there, and that name the other system. Python itself and third parties
go on as they are; they have branches of their own, which are their makers' to test. Paths stay those of this system:
what names mean to Windows is a question for ``PureWindowsPath``, asked elsewhere.
"""

import builtins
import importlib
import io
import json
import pkgutil
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

OURS = ("overnight", "flows", "tasks", "deployments")
HOSTS = {"torch", "transformers", "xllamacpp", "prefect", "wandb", "peft", "accelerate"}  # seconds each
# "Availability" in the documentation of the standard library.
MISSING_MODULES = {
    "win32": {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"},
    "darwin": {"msvcrt", "winreg", "spwd"},
}
_LINUX_ONLY = """
    sched_getaffinity sched_setaffinity sched_getparam posix_fadvise posix_fallocate memfd_create pidfd_open eventfd
    getrandom copy_file_range splice setns unshare O_DIRECT O_TMPFILE O_PATH O_NOATIME getresuid setresuid getxattr
"""
MISSING_NAMES = {
    "win32": {
        "os": f"""{_LINUX_ONLY}
            fork forkpty getuid geteuid getgid getegid getgroups getpgid getpgrp getsid setsid setpgid killpg
            statvfs fstatvfs chown lchown fchown chroot mkfifo mknod nice pread pwrite sysconf uname wait wait3 wait4
            waitid WNOHANG WIFSIGNALED WTERMSIG WEXITSTATUS getloadavg O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK
            O_SYNC sendfile ttyname getpriority setpriority openpty ctermid confstr sync fdatasync lockf posix_spawn
        """,
        "signal": """SIGKILL SIGHUP SIGUSR1 SIGUSR2 SIGALRM SIGCHLD SIGPIPE SIGQUIT SIGSTOP SIGCONT SIGTSTP SIGTTIN
            pause alarm setitimer getitimer sigwait sigpending pthread_kill pthread_sigmask""",
        "time": "clock_gettime clock_settime pthread_getcpuclockid tzset",
        "socket": "AF_UNIX sendmsg",
    },
    "darwin": {"os": _LINUX_ONLY},
}
OTHER_VALUES: dict[str, dict[str, dict[str, Any]]] = {
    "win32": {
        "sys": {"platform": "win32"},
        "os": {"name": "nt", "O_BINARY": 0},
        "platform": {"system": lambda: "Windows", "machine": lambda: "AMD64"},
        "signal": {"SIGBREAK": 21},
        "subprocess": {"CREATE_NEW_PROCESS_GROUP": 0x200},
    },
    "darwin": {
        "sys": {"platform": "darwin"},
        "platform": {"system": lambda: "Darwin", "machine": lambda: "arm64"},
    },
}


class Elsewhere(ModuleType):
    """A module of the standard library as another system has it."""

    def __init__(self, real: ModuleType, missing: set[str], other: dict[str, Any]) -> None:
        super().__init__(real.__name__)
        self.__dict__.update(_real=real, _missing=missing, **other)

    def __getattr__(self, name: str) -> Any:
        if name in self._missing:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._real, name, value)


def move_to(system: str, *, without: Collection[str] = ()) -> None:
    """Have our code, imported from now on, find the standard library of another system, and no ``without``."""
    wanted = MISSING_NAMES[system].keys() | OTHER_VALUES[system].keys()
    there = {
        name: Elsewhere(
            importlib.import_module(name),
            set(MISSING_NAMES[system].get(name, "").split()),
            OTHER_VALUES[system].get(name, {}),
        )
        for name in wanted
    }
    here = builtins.__import__

    def import_there(name: str, *asked: Any, **named: Any) -> Any:
        top = name.partition(".")[0]
        by = str((asked[0] or {}).get("__name__", "")) if asked else ""
        if by.partition(".")[0] in OURS:
            if top in MISSING_MODULES[system] or top in without:
                raise ModuleNotFoundError(f"No module named {name!r}", name=top)
            if name in there:
                return there[name]
        return here(name, *asked, **named)

    builtins.__import__ = import_there
    open_here = io.open

    def open_there(file: Any, *arguments: Any, **options: Any) -> Any:
        if str(file).startswith(("/proc/", "/sys/")):  # what Path.open calls; nobody else has these files
            raise FileNotFoundError(2, "No such file or directory", str(file))
        return open_here(file, *arguments, **options)

    io.open = open_there


def modules() -> Iterator[str]:
    """Yield the names of all modules of the project, but for those that run when they are imported."""
    for package in map(importlib.import_module, OURS):
        yield package.__name__
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                yield found.name


def import_all() -> dict[str, Any]:
    """Import every module; return how many there are, which were left out, and what went wrong."""
    imported, left_out, wrong = [], {}, {}
    for name in modules():
        try:
            importlib.import_module(name)
            imported.append(name)
        except ModuleNotFoundError as error:
            (left_out if error.name in HOSTS else wrong)[name] = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            wrong[name] = f"{type(error).__name__}: {error}"
    return {"imported": len(imported), "left_out": sorted(left_out), "wrong": wrong}


def work(folder: Path) -> dict[str, Any]:
    """Do on the other system what a run does first: look at the machine, plan, write, lock, listen to signals."""
    from overnight.engines.deaths import MemoryWatch
    from overnight.engines.limits import limit_memory
    from overnight.errors import UsageError
    from overnight.memory.free import free_memory
    from overnight.processes import apart
    from overnight.store.files import read_json, require_writable, write_json
    from overnight.store.journal import Journal, read_rows
    from overnight.store.run_folder import RunFolder
    from overnight.store.run_lock import is_locked, run_lock
    from overnight.telemetry.cores import read_cores
    from overnight.telemetry.environment import describe_environment
    from overnight.vectors.state_index import Shard, append_line, read_index

    run = RunFolder(folder / "run_a")
    require_writable(run.path, 1)
    write_json(run.plan, {"a": 1})
    with run_lock(run):
        pass
    rows = [{"custom_id": "a", "status": "ok", "text": "\r\n"}]
    with Journal(run.path / "journal.jsonl") as journal:
        journal.append(rows)
    shard = Shard(path=run.path / "s", sha256="0" * 64, n_bytes=10, written_ns=10, ids=(b"\n" * 16,))
    append_line(run.path / "20260101T000000-host-1-00000000.jsonl", shard)
    try:
        limit_memory(1 << 40)
        limited = "yes"
    except UsageError as error:
        limited = str(error)
    return {
        "apart": apart(),
        "free": [memory.name for memory in free_memory()],
        "cores": read_cores().usable,
        "cpu": "cpu" in describe_environment(),
        "json": read_json(run.plan),
        "journal": list(read_rows(run.path / "journal.jsonl")) == rows,
        "index": read_index(run.path).shards == (shard,),
        "locked": is_locked(run),
        "limited": limited,
        "killed": MemoryWatch().why_out_of_memory(1, "std::bad_alloc"),
        "signals": _signals(run),
    }


def _signals(run: Any) -> list[int]:
    """Return the signals that ask a run to stop."""
    import signal

    from overnight.cli.stopping import stop_on_signals

    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    with stop_on_signals(run):
        return sorted(n for n, handler in before.items() if signal.getsignal(n) is not handler)


def plan(sweep: Path) -> None:
    """Plan a sweep as the command line does; it leaves with its exit code."""
    from overnight.cli import main

    main(["plan", str(sweep), "--json"])


if __name__ == "__main__":
    system, what, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    move_to(system, without=HOSTS if what == "import" else ())
    if what == "plan":
        plan(folder / "sweeps" / "s.yaml")
    sys.stdout.write(json.dumps(work(folder) if what == "work" else import_all()))
