"""What the control groups of Linux leave to a process: in a container it is less than the machine has."""

from pathlib import Path

_NO_LIMIT = 1 << 60  # bytes; version 1 writes the largest number there is where there is none


def cgroup_limits(process: Path, mounted: Path) -> list[tuple[int, int, str]]:
    """Return (free, limit, source) of every group with a limit that the process is in, in bytes.

    Pages of files that the kernel can drop are counted as used by a group, and are not by us. The files are described
    in Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst of the kernel.

    Args:
        process: the process's folder in /proc.
        mounted: where control groups are mounted.
    """
    found = []
    for line in _lines(process / "cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            for root in (mounted, mounted / "unified"):
                found += _limits(root, path, "memory.max", "memory.current", "inactive_file", "v2")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            found += _limits(mounted / "memory", path, *names, "v1")
    return found


def _limits(
    root: Path, path: str, limit_name: str, usage_name: str, droppable: str, version: str
) -> list[tuple[int, int, str]]:
    """Return the limits of a group and of all groups around it.

    Within a container the path may be the one outside of it; then what is mounted at the root is the own group.
    """
    group = root / path.lstrip("/")
    found = []
    for folder in (group, *group.parents):
        if not folder.is_relative_to(root):
            break
        limit, used = _number(folder / limit_name), _number(folder / usage_name)
        if limit is None or used is None or limit >= _NO_LIMIT:
            continue
        dropped = _statistic(folder / "memory.stat", droppable)
        found.append((limit - max(0, used - dropped), limit, f"{folder / limit_name} (cgroup {version})"))
    return found


def _statistic(path: Path, name: str) -> int:
    for line in _lines(path):
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdecimal():
            return int(value)
    return 0


def _number(path: Path) -> int | None:
    """Return the number in a file; None where there is no file, or it says ``max``."""
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdecimal() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
