"""Processor, memory and the engine's own processes, by psutil."""

import time
from collections.abc import Callable
from typing import TypeVar

import psutil

from overnight.telemetry.sensors import SystemReading

T = TypeVar("T")
_TREE_S = 5.0  # finding the children of a process looks through all processes
NO_PROCESS = "no process on this machine is known to hold the model"


class SystemSensors:
    """The system's counters, each guarded by itself."""

    def __init__(
        self, engine_pid: Callable[[], int | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.missing: dict[str, str] = {}
        self.pids: frozenset[int] = frozenset()  # of the engine and of its children, as of the last look
        self._engine_pid = engine_pid
        self._clock = clock
        self._tree: list[psutil.Process] = []
        self._tree_of: int | None = None
        self._tree_at = 0.0
        self._is_first = True
        self._was_found = False

    def read(self) -> SystemReading:
        """Return what the counters say; one that fails is None, and ``missing`` says why."""
        used, available = self._guarded("ram_used_bytes", _memory) or (None, None)
        return SystemReading(
            cpu_percent=self._guarded("cpu_percent", self._processor),
            ram_used_bytes=used,
            ram_available_bytes=available,
            host_rss_bytes=self._guarded("host_rss_bytes", self._resident),
        )

    def _guarded(self, name: str, ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except Exception as error:  # noqa: BLE001 - /proc may be hidden, or be something else altogether
            self.missing.setdefault(name, f"{type(error).__name__}: {error}")
            return None

    def _processor(self) -> float | None:
        percent = psutil.cpu_percent(interval=None)
        is_first, self._is_first = self._is_first, False
        return None if is_first else percent  # the first one has nothing to be a difference to

    def _resident(self) -> float | None:
        """Return the resident memory of the engine's processes; None without any."""
        self._find()
        sizes = {}
        for process in self._tree:
            try:
                sizes[process.pid] = process.memory_info().rss
            except psutil.NoSuchProcess:
                self._tree_of = None  # look again next time
        self.pids = frozenset(sizes)
        if not sizes:
            if not self._was_found:  # before a model is loaded, and after it is let go, there is no process
                self.missing.setdefault("host_rss_bytes", NO_PROCESS)
            return None
        self._was_found = True
        self.missing.pop("host_rss_bytes", None)
        return float(sum(sizes.values()))

    def _find(self) -> None:
        pid, now = self._engine_pid(), self._clock()
        if pid == self._tree_of and now - self._tree_at < _TREE_S:
            return
        self._tree, self._tree_of, self._tree_at = [], pid, now
        if pid is not None:
            try:
                engine = psutil.Process(pid)
                self._tree = [engine, *engine.children(recursive=True)]
            except psutil.NoSuchProcess:
                self._tree_of = None


def _memory() -> tuple[float, float]:
    memory = psutil.virtual_memory()
    return float(memory.used), float(memory.available)
