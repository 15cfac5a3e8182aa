"""Time on the clock, and time that processors were busy: on a busy machine the second moves less than the first."""

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import psutil


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What some work took."""

    wall_s: float
    cpu_s: float

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(wall_s=self.wall_s + other.wall_s, cpu_s=self.cpu_s + other.cpu_s)


class Stopwatch:
    """Measures what a block takes, in this process and in one that works for it.

    Args:
        pid: of that process; None: there is none.
    """

    def __init__(self, pid: int | None = None) -> None:
        self._processes = [psutil.Process(), *([] if pid is None else [psutil.Process(pid)])]
        self.spent = Spent(wall_s=0.0, cpu_s=0.0)

    def __enter__(self) -> Self:
        self._cpu, self._started = self._busy_s(), time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.spent = Spent(wall_s=time.perf_counter() - self._started, cpu_s=self._busy_s() - self._cpu)

    def _busy_s(self) -> float:
        return sum(times.user + times.system for times in (p.cpu_times() for p in self._processes))
