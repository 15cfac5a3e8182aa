"""What a process holds, and the most that it has held: its own memory, its pages of files, its share of a GPU."""

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_SAMPLE_S = 0.25
_KIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMemory:
    """What a process holds in the host's memory, in bytes.

    On Linux ``resident`` is the sum of what is its own (``anonymous``), of pages of files, which the kernel can drop
    and other processes may share (``file_backed``: mapped weights, libraries), and of shared memory.
    """

    resident: int
    anonymous: int | None = None  # None where the system does not tell
    file_backed: int | None = None
    most_resident: int | None = None  # since it began


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredPeak:
    """The most that a process and its children have held, in bytes."""

    host_bytes: int | None  # resident: mapped weights count once, as pages of their file
    host_anonymous_bytes: int | None
    device_bytes: int | None  # of all GPUs; None where no driver tells it
    n_samples: int


def process_memory(pid: int, proc: Path = Path("/proc")) -> ProcessMemory | None:
    """Return what a process holds; None where it is gone or is not ours to look at."""
    status = _status(proc / str(pid) / "status")
    if "VmRSS" in status:
        return ProcessMemory(
            resident=status["VmRSS"],
            anonymous=status.get("RssAnon"),
            file_backed=status.get("RssFile"),
            most_resident=status.get("VmHWM"),
        )
    import psutil  # noqa: PLC0415 - `overnight --help` needs none

    try:
        found = psutil.Process(pid).memory_info()
    except psutil.Error:
        return None
    return ProcessMemory(resident=int(found.rss), most_resident=getattr(found, "peak_wset", None))


def device_memory(
    pids: Iterable[int], load: Callable[[], Any] = lambda: importlib.import_module("pynvml")
) -> int | None:
    """Return what processes hold on all GPUs, in bytes; None where no driver tells it (none, WSL, some MIG).

    Args:
        pids: of the processes.
        load: returns the ``pynvml`` module.
    """
    wanted = set(pids)
    try:
        nvml = load()
        nvml.nvmlInit()
    except Exception:  # noqa: BLE001 - no driver: nothing is held
        return None
    try:
        found = []
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            found += [
                one.usedGpuMemory
                for one in nvml.nvmlDeviceGetComputeRunningProcesses(handle)
                if one.pid in wanted
            ]
    except Exception:  # noqa: BLE001 - not supported, gone: nothing is known
        return None
    else:
        return None if None in found else sum(found)
    finally:
        with contextlib.suppress(Exception):
            nvml.nvmlShutdown()


class MemoryWatch:
    """Looks at a process and its children four times a second; a context manager, whose ``peak`` says the most.

    The system's own record of the most resident memory is taken where the process has no children, so that nothing
    between two looks is missed. A watch never raises: what cannot be seen is None.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"memory of {pid}", daemon=True)
        self._host: int | None = None
        self._anonymous: int | None = None
        self._device: int | None = None
        self._has_devices = True
        self._n_samples = 0

    @property
    def peak(self) -> MeasuredPeak:
        """The most so far."""
        return MeasuredPeak(
            host_bytes=self._host,
            host_anonymous_bytes=self._anonymous,
            device_bytes=self._device,
            n_samples=self._n_samples,
        )

    def look(self) -> None:
        """Look once."""
        pids = _tree(self._pid)
        found = [memory for pid in pids if (memory := process_memory(pid)) is not None]
        if not found:
            return
        self._n_samples += 1
        resident = sum(memory.resident for memory in found)
        if len(found) == 1 and found[0].most_resident is not None:
            resident = max(resident, found[0].most_resident)
        self._host = max(self._host or 0, resident)
        own = [memory.anonymous for memory in found]
        if None not in own:
            self._anonymous = max(self._anonymous or 0, sum(part or 0 for part in own))
        if self._has_devices:
            held = device_memory(pids)
            self._has_devices = held is not None
            if held is not None:
                self._device = max(self._device or 0, held)

    def __enter__(self) -> Self:
        self.look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        self._thread.join()
        self.look()

    def _run(self) -> None:
        while not self._leaving.wait(_SAMPLE_S):
            with contextlib.suppress(Exception):  # what is measured beside a run never ends it
                self.look()


def _tree(pid: int) -> list[int]:
    import psutil  # noqa: PLC0415 - as above

    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.Error:
        return [pid]


def _status(path: Path) -> dict[str, int]:
    """Return the sizes of a process's status file, in bytes; none where there is no such file."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        name, _, value = line.partition(":")
        words = value.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdecimal():  # noqa: PLR2004 - a number and its unit
            found[name] = int(words[0]) * _KIB
    return found
