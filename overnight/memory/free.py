"""How much memory is free, where, and how that is known: the host's, by whatever limits it, and each GPU's."""

import contextlib
import importlib
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overnight.memory.cgroups import cgroup_limits
from overnight.memory.estimate import Place
from overnight.telemetry.energy import is_visible

# What Metal lets one process use where nobody has changed iogpu.wired_limit_mb: two thirds of the memory, and three
# quarters where there is more than this.
_SMALL_MAC_BYTES = 36 << 30
# These limits count addresses, not pages: stacks of threads, arenas and libraries of an engine's process that are
# never touched. Measured with llama.cpp and two threads: 390 to 440 MiB, and 150 to 200 MiB of private data.
_RESERVED = {"RLIMIT_AS": 512 << 20, "RLIMIT_DATA": 256 << 20}


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeMemory:
    """What one memory has left; other processes are counted, ours too."""

    name: str  # host, or the GPU's name
    place: Place
    free_bytes: int | None  # None where nobody can say
    total_bytes: int | None
    source: str  # where the number comes from
    absent_because: str | None = None
    uuid: str | None = None  # of a GPU, or of an instance of one, as its driver calls it

    def as_row(self) -> dict[str, Any]:
        """Return it for a JSON file; bytes."""
        return {
            "name": self.name,
            "place": self.place.value,
            "free_bytes": self.free_bytes,
            "total_bytes": self.total_bytes,
            "source": self.source,
            "absent_because": self.absent_because,
        }


def free_memory() -> tuple[FreeMemory, ...]:
    """Return what is free on the host, and on each GPU that this process may use."""
    return (free_host(), *free_devices())


def free_host(
    process: Path = Path("/proc/self"),
    cgroups: Path = Path("/sys/fs/cgroup"),
) -> FreeMemory:
    """Return what is free on the host: the least of what the system has and of what limits this process.

    Limits are those of control groups (containers, systemd), less what the group uses, pages of files that can be
    dropped not counted as used; and of the process (RLIMIT_AS, RLIMIT_DATA), which a child inherits whole, less the
    addresses that it reserves and never uses. Swap is not counted: a model that is swapped is
    slower than one that is not there.

    Args:
        process: where the system says to which groups the process belongs.
        cgroups: where control groups are mounted.
    """
    import psutil  # noqa: PLC0415 - `overnight --help` needs none

    memory = psutil.virtual_memory()
    found = [(int(memory.available), int(memory.total), "available to the system (psutil)")]
    found += cgroup_limits(process, cgroups)
    found += _process_limits()
    free, total, source = min(found)
    return FreeMemory(
        name="host", place=Place.HOST, free_bytes=max(0, free), total_bytes=total, source=source
    )


def free_devices(
    load: Callable[[], Any] = lambda: importlib.import_module("pynvml"),
) -> tuple[FreeMemory, ...]:
    """Return what each GPU has left that CUDA_VISIBLE_DEVICES lets this process use; Apple's, on its machines.

    What is free is what the driver says: whatever other processes hold is not. Of a GPU that is divided (MIG), its
    instances are given.

    Args:
        load: returns the ``pynvml`` module.
    """
    if platform.system() == "Darwin":
        return (_metal(),) if platform.machine() == "arm64" else ()
    try:
        nvml = load()
        nvml.nvmlInit()
    except Exception:  # noqa: BLE001 - no driver, no NVML, another one: there is no GPU that we could use
        return ()
    try:
        return _nvidia(nvml)
    finally:
        with contextlib.suppress(Exception):  # it is given back one way or the other
            nvml.nvmlShutdown()


def _nvidia(nvml: Any) -> tuple[FreeMemory, ...]:
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    found: list[FreeMemory] = []
    try:
        n_devices = int(nvml.nvmlDeviceGetCount())
    except Exception as error:  # noqa: BLE001 - whatever a driver does, there is an answer
        return (_absent("GPU", error),)
    for index in range(n_devices):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            uuid = _text(nvml.nvmlDeviceGetUUID(handle))
            name = _text(nvml.nvmlDeviceGetName(handle))
        except Exception as error:  # noqa: BLE001 - the other devices may be well
            found.append(_absent(f"GPU {index}", error))
            continue
        is_whole = is_visible(index, uuid, allowed)
        slices = _slices(nvml, handle)
        if slices:
            found += [
                _device(nvml, part, part_uuid, f"{name} {part_uuid}", "NVML, of the MIG instance")
                for part_uuid, part in slices
                if is_whole or is_visible(-1, part_uuid, allowed)
            ]
        elif is_whole:
            found.append(_device(nvml, handle, uuid, f"GPU {index} {name}", "NVML"))
    return tuple(found)


def _device(nvml: Any, handle: Any, uuid: str, name: str, source: str) -> FreeMemory:
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        free, total = int(memory.free), int(memory.total)
    except Exception as error:  # noqa: BLE001 - devices with the host's memory do not have their own
        return _absent(name, error, uuid)
    return FreeMemory(
        name=name, place=Place.DEVICE, free_bytes=free, total_bytes=total, source=source, uuid=uuid
    )


def _slices(nvml: Any, handle: Any) -> list[tuple[str, Any]]:
    try:
        current, _ = nvml.nvmlDeviceGetMigMode(handle)
        most = int(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)) if current else 0
    except Exception:  # noqa: BLE001 - most devices do not know the word
        return []
    found = []
    for index in range(most):
        try:
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
            found.append((_text(nvml.nvmlDeviceGetUUID(part)), part))
        except Exception:  # noqa: BLE001, S112 - places without an instance are many
            continue
    return found


def _metal() -> FreeMemory:
    import psutil  # noqa: PLC0415 - as above

    memory = psutil.virtual_memory()
    total = int(memory.total)
    allowed = total * 2 // 3 if total <= _SMALL_MAC_BYTES else total * 3 // 4
    return FreeMemory(
        name="Apple GPU",
        place=Place.DEVICE,
        free_bytes=min(int(memory.available), allowed),
        total_bytes=allowed,
        source="the host's available memory (psutil), at most the share that Metal recommends by default",
    )


def _process_limits() -> list[tuple[int, int, str]]:
    if sys.platform == "win32":
        return []
    import resource  # noqa: PLC0415 - not on Windows

    found = []
    for name, reserved in _RESERVED.items():
        soft, _ = resource.getrlimit(getattr(resource, name))
        if soft != resource.RLIM_INFINITY:
            source = f"{name} of the process, less {reserved >> 20} MiB that are reserved and never used"
            found.append((soft - reserved, soft, source))
    return found


def _absent(name: str, error: Exception, uuid: str | None = None) -> FreeMemory:
    return FreeMemory(
        name=name,
        place=Place.DEVICE,
        free_bytes=None,
        total_bytes=None,
        source="NVML",
        absent_because=str(error) or type(error).__name__,
        uuid=uuid,
    )


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
