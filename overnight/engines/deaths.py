"""Why a host died: whether it was memory, by what it said, by what the kernel says, and by what was free."""

import threading
from collections import deque
from pathlib import Path

# What llama.cpp, torch, the C++ runtime, Python and Rust (tokenizers, safetensors) print when an allocation fails.
_SIGNS = (
    "failed to allocate",
    "out of memory",
    "cannot allocate memory",
    "can't allocate memory",
    "std::bad_alloc",
    "memory allocation of",
    "memoryerror",
)
_KILLED = -9  # SIGKILL, which Windows has not: whoever ends a process there names an exit code
_LOOK_S = 0.5
_LOOKS_KEPT = 10
_SHORT = 0.03  # of all memory; below it a kill without a reason is taken for one by the system


class MemoryWatch:
    """Looks at the memory while a process lives, so that its death can be read afterwards: by then it is back."""

    def __init__(self, vmstat: Path = Path("/proc/vmstat")) -> None:
        self._vmstat = vmstat
        # Of the whole machine, whose other deaths of an hour ago are not this one.
        self._kills: deque[int | None] = deque([_oom_kills(vmstat)], maxlen=_LOOKS_KEPT)
        self._free_shares: deque[float] = deque(maxlen=_LOOKS_KEPT)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="memory watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; what was seen stays."""
        self._done.set()
        self._thread.join()

    def why_out_of_memory(self, code: int, said: str) -> str | None:
        """Return why a death was one for want of memory; None where nothing says so.

        Args:
            code: as ``Popen.returncode`` gives it, negative for a signal.
            said: what the process printed.
        """
        if code != _KILLED:
            line = memory_complaint(said)
            return None if line is None else f"it said {line!r}"
        # Whoever is killed did not end by what it said: a batch that was halved is a complaint that was survived.
        now, before = _oom_kills(self._vmstat), self._kills[0]
        if now is not None and before is not None and now > before:
            return "the kernel killed it for want of memory"
        if self._free_shares and min(self._free_shares) < _SHORT:
            return f"it was killed while {min(self._free_shares):.1%} of the memory was free"
        return None

    def _look(self) -> None:
        import psutil  # noqa: PLC0415 - only where a process is watched

        while not self._done.wait(_LOOK_S):
            memory = psutil.virtual_memory()
            self._free_shares.append(memory.available / memory.total)
            self._kills.append(_oom_kills(self._vmstat))


def memory_complaint(said: str) -> str | None:
    """Return the first line of a text that complains of memory."""
    return next(
        (line.strip() for line in said.splitlines() if any(sign in line.lower() for sign in _SIGNS)), None
    )


def _oom_kills(vmstat: Path) -> int | None:
    """Return how many processes the kernel has killed for want of memory; None where it does not say."""
    try:
        lines = vmstat.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)
