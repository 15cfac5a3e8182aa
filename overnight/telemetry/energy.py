"""Energy: the counters of the GPUs, read before and after."""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from overnight.store.manifest import Energy

_MILLIJOULES = 1000
_ANSWER_S = 2.0  # a driver that takes longer is not waited for


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """The energy counters of some GPUs at one moment, or why there are none."""

    millijoules: Mapping[str, int]  # by the device's UUID, since the driver was loaded
    undefined_because: str | None = None


def read_counters() -> Counters:
    """Return the energy counters of the NVIDIA devices that this process may use; never fails.

    The counter is of the whole device (``nvmlDeviceGetTotalEnergyConsumption``, Volta and later), so it holds what
    other processes did there in the same time, and it knows nothing of the processor and the rest of the machine.
    """
    return _READER.read()


class _Reader:
    """Asks in a thread of its own, so that a driver that hangs holds up nobody."""

    def __init__(self) -> None:
        self._stuck: threading.Thread | None = None

    def read(self) -> Counters:
        found: list[Counters] = []
        if self._stuck is None or not self._stuck.is_alive():
            thread = threading.Thread(
                target=lambda: found.append(_read_counters()), name="energy counters", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:
                return Counters(millijoules={}, undefined_because=f"the counters cannot be read ({error})")
            thread.join(_ANSWER_S)
            self._stuck = None if found else thread
        return found[0] if found else Counters(millijoules={}, undefined_because="NVML does not answer")


_READER = _Reader()


def _read_counters() -> Counters:
    try:
        import pynvml  # noqa: PLC0415 - its import is the driver's business
    except ImportError:
        return Counters(millijoules={}, undefined_because="pynvml is not installed")
    try:
        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001 - a broken driver raises what it likes
        return Counters(millijoules={}, undefined_because="no NVIDIA GPU with a driver here")
    try:
        found = {}
        for index in range(pynvml.nvmlDeviceGetCount()):
            device = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid = str(pynvml.nvmlDeviceGetUUID(device))
            if is_visible(index, uuid, os.environ.get("CUDA_VISIBLE_DEVICES")):
                found[uuid] = int(pynvml.nvmlDeviceGetTotalEnergyConsumption(device))
    except Exception as error:  # noqa: BLE001 - the same; an old pynvml lacks functions
        return Counters(millijoules={}, undefined_because=f"NVML gives no energy counter ({error})")
    else:
        reason = None if found else "no GPU is visible to this process"
        return Counters(millijoules=found, undefined_because=reason)
    finally:
        _shut_down()


class EnergyMeter:
    """Reads the counters again and again; what was used since the last time belongs to whoever ran meanwhile."""

    def __init__(self) -> None:
        self._last = read_counters()

    def since_last(self) -> Energy:
        """Return what the GPUs used since this was last asked."""
        before, self._last = self._last, read_counters()
        return energy_between(before, self._last)


def is_visible(index: int, uuid: str, visible: str | None) -> bool:
    """True where ``CUDA_VISIBLE_DEVICES`` allows a device; its numbers are taken in NVML's (PCI) order."""
    if visible is None:
        return True
    words = [word.strip() for word in visible.split(",")]
    return any(
        word == str(index) or (word.startswith(("GPU-", "MIG-")) and uuid.startswith(word))
        for word in words
        if word
    )


def energy_between(before: Counters, after: Counters) -> Energy:
    """Return what the GPUs used between two readings, in joules; unknown where a counter is missing or fell."""
    if reason := before.undefined_because or after.undefined_because:
        return Energy(undefined_because=reason)
    if before.millijoules.keys() != after.millijoules.keys():
        return Energy(undefined_because="the GPUs were not the same before and after")
    used = [after.millijoules[uuid] - start for uuid, start in before.millijoules.items()]
    if min(used) < 0:
        return Energy(undefined_because="an energy counter was set back meanwhile")
    return Energy(joules=sum(used) / _MILLIJOULES)


def _shut_down() -> None:
    import pynvml  # noqa: PLC0415

    try:
        pynvml.nvmlShutdown()
    except Exception:  # noqa: BLE001 - it is gone already
        return
