"""Control groups for memory: a limit that the kernel enforces by killing."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


def host_in(group: Path, module: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a module that joins a group and then is a host."""
    (folder / "host_in_a_group.py").write_text(
        f"import os, pathlib\n"
        f"pathlib.Path({str(group / 'cgroup.procs')!r}).write_text(str(os.getpid()))\n"
        f"from {module} import main\n"
        f"main()\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return "host_in_a_group"


def private_memory(group: Path) -> int:
    counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return int(counts.get("rss", counts.get("anon", 0)))


@contextlib.contextmanager
def small_group() -> Iterator[tuple[Path, Path]]:
    """Make a control group for memory; yield it and the file of its limit, or skip where this user may not."""
    own = next(
        (
            line.split(":")[2].lstrip("/")
            for line in Path("/proc/self/cgroup").read_text().splitlines()
            if line.split(":")[1] in ("memory", "")
        ),
        "",
    )
    for root, limit in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        group = root / own / f"overnight-test-{os.getpid()}"
        try:
            group.mkdir()
            (group / limit).write_text((group / limit).read_text())
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        try:
            yield group, group / limit
        finally:
            _remove(group)
        return
    pytest.skip("this user may not make a control group with a memory limit")


def _remove(group: Path) -> None:
    for _ in range(50):
        try:
            group.rmdir()
        except OSError:
            time.sleep(0.1)
        else:
            return
