"""How many threads are worth starting: the cores there are, those that this process may use, and for how long."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from overnight.telemetry.cgroups import read_limits

_CPUS = Path("/sys/devices/system/cpu")


class Cores(NamedTuple):
    """How much of a processor there is, and how much of it may be used."""

    physical: int | None
    logical: int | None
    allowed: int | None  # logical ones, by affinity; None where the system has none
    cgroup: float | None  # processors' worth of time; None without a limit
    allowed_physical: int | None = (
        None  # that the allowed ones are threads of; None where the system does not say
    )

    @property
    def usable(self) -> int:
        """Threads that are worth starting: hyper-threads share the unit that multiplies."""
        return self._least(self.allowed_physical or self.physical, self.allowed)

    @property
    def usable_logical(self) -> int:
        """Threads that can run at the same time, hyper-threads counted."""
        return self._least(self.logical, self.allowed)

    def _least(self, *bounds: int | None) -> int:
        found = [n for n in (*bounds, self.cgroup) if n]
        return max(1, int(min(found, default=self.logical or 1)))


def read_cores() -> Cores:
    """Return what this machine has and what this process may use of it."""
    import psutil  # noqa: PLC0415 - only where it is used

    own = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    return Cores(
        psutil.cpu_count(logical=False),
        os.cpu_count(),
        None if own is None else len(own),
        read_limits().cpus,
        None if own is None else physical_of(own),
    )


def physical_of(logical: Collection[int], cpus: Path = _CPUS) -> int | None:
    """Return of how many physical cores some logical ones are threads; None where the system does not say."""
    found = set()
    for number in logical:
        try:
            found.add(
                (cpus / f"cpu{number}/topology/thread_siblings_list").read_text(encoding="ascii").strip()
            )
        except OSError:
            return None
    return len(found)


def physical_cores() -> int:
    """Return how many threads the work of one model is worth here, by default."""
    return read_cores().usable
