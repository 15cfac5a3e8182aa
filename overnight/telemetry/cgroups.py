"""What a container allows: Linux control groups, both versions."""

from pathlib import Path
from typing import NamedTuple

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_NO_LIMIT = 2**60  # version 1 writes a number like this where there is none


class Limits(NamedTuple):
    """What the processes of a group may use; None is no limit."""

    memory_bytes: int | None = None
    memory_used_bytes: int | None = None  # of the group that has the limit
    cpus: float | None = None


def read_limits(root: Path = _ROOT, own: Path = _OWN) -> Limits:
    """Return the tightest limits of this process's group and of those above it; none on other systems."""
    try:
        lines = own.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return Limits()
    memory: list[tuple[int, int | None]] = []
    cpus: list[float] = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        base = root / controllers if controllers else root
        inside = Path(path.lstrip("/"))
        # Inside of a container the path may be that of the host, and only the root is there.
        for folder in {base, *(base / part for part in (inside, *inside.parents))}:
            limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
            if limit is not None and limit < _NO_LIMIT:
                used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
                memory.append((limit, used))
            cpus += _cpus(folder)
    tightest = min(memory, key=lambda pair: pair[0], default=(None, None))
    return Limits(tightest[0], tightest[1], min(cpus, default=None))


def _cpus(folder: Path) -> list[float]:
    words = _text(folder / "cpu.max").split()
    if len(words) == 2 and words[0].isdigit():  # noqa: PLR2004 - quota and period
        return [int(words[0]) / int(words[1])]
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return [quota / period] if quota and period and quota > 0 else []


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
