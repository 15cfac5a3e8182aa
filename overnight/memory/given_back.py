"""Whether the memory of the GPUs is back after a model was let go: looked at for a while, and said where it is not.

A process that has ended holds no memory of the host; what a driver takes back, it takes back a moment later, and a
model that is loaded in that moment runs out of memory for no reason.
"""

import contextlib
import importlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from overnight.memory.fits import in_words
from overnight.memory.free import free_devices

_LOG = logging.getLogger(__name__)
_LOOK_S = 0.2
_WITHIN_S = 15.0
_LEFT_OPEN = 128 << 20  # bytes; what a driver keeps of its own from the first use on

Load = Callable[[], Any]


def _pynvml() -> Any:
    return importlib.import_module("pynvml")


def free_on_devices(load: Load = _pynvml) -> dict[str, int]:
    """Return what each GPU of the driver has free, in bytes, by its name; nothing where no driver tells it."""
    return {
        device.name: device.free_bytes
        for device in free_devices(load)
        if device.source.startswith("NVML") and device.free_bytes is not None
    }


def wait_until_back(
    before: Mapping[str, int],
    what: str,
    *,
    load: Load = _pynvml,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> bool:
    """Return once every GPU has as much free as before, or after 15 s, with a warning that names who holds it.

    Never raises: the next model finds out whether it fits beside what is left.

    Args:
        before: what was free before the model was loaded, by `free_on_devices`.
        what: was let go, for the warning.
        load: returns the ``pynvml`` module.
        clock: in seconds.
        sleep: waits for some seconds.

    Returns:
        True where the memory is back, or nothing can be seen of it.
    """
    deadline = clock() + _WITHIN_S
    while missing := _missing(before, free_on_devices(load) if before else {}):
        if clock() >= deadline:
            lacks = ", ".join(f"{in_words(n_bytes)} of {name}" for name, n_bytes in missing.items())
            _LOG.warning(
                "%g s after %s was let go, %s are not back; %s", _WITHIN_S, what, lacks, _who_holds_it(load)
            )
            return False
        sleep(_LOOK_S)
    return True


def _missing(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    lacks = {name: free - now[name] for name, free in before.items() if name in now}
    return {name: n_bytes for name, n_bytes in lacks.items() if n_bytes > _LEFT_OPEN}


def _who_holds_it(load: Load) -> str:
    """Return which processes hold memory on a GPU, as far as the driver tells."""
    found = []
    with contextlib.suppress(Exception):  # whatever a driver does, there is a sentence
        nvml = load()
        nvml.nvmlInit()
        try:
            for index in range(nvml.nvmlDeviceGetCount()):
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                found += [
                    f"process {one.pid} on GPU {index}"
                    + ("" if one.usedGpuMemory is None else f" ({in_words(one.usedGpuMemory)})")
                    for one in nvml.nvmlDeviceGetComputeRunningProcesses(handle)
                ]
        finally:
            nvml.nvmlShutdown()
    return f"held there: {', '.join(found)}" if found else "the driver names no process that holds them"
