"""The NVIDIA devices that this process may use, sensor by sensor.

Every call is guarded by itself. A sensor that a device does not have is asked once; one that fails otherwise is
asked again; a device or a driver that is gone is looked for again after a while. Nothing here raises an `Exception`.
"""

import importlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from overnight.telemetry.energy import is_visible
from overnight.telemetry.nvml_values import (
    MOST,
    NEVER,
    owned,
    plausible,
    text,
    throttle_reasons,
    used_of,
)
from overnight.telemetry.sensors import DeviceReading

T = TypeVar("T")
_RETRY_S = 30.0
# Return codes of nvml.h: a device that fell off the bus ...
_DEVICE_GONE = {15: "the GPU is lost", 16: "the GPU needs a reset"}
# ... and a driver that was unloaded, or changed under us.
_DRIVER_GONE = {
    1: "NVML was shut down",
    9: "the driver is not loaded",
    12: "there is no NVML",
    18: "another driver was installed meanwhile",
}
_GPU_CORE, _SM, _MEMORY = 0, 1, 2  # NVML_TEMPERATURE_GPU, NVML_CLOCK_SM, NVML_CLOCK_MEM


class _Gone(Exception):
    """The device, or the whole driver, answers nothing any more."""


class _DriverGone(_Gone):
    """The whole driver."""


@dataclass(slots=True)
class _Device:
    name: str  # as it stands in ``missing``
    uuid: str
    handle: Any
    board_uuid: str
    board: Any  # handle of the physical device, which alone has temperature, power and clocks
    is_slice: bool = False
    absent: set[str] = field(default_factory=set)  # sensors that are not asked any more
    not_before: float = 0.0


class NvmlSensors:
    """Reads all visible devices; ``missing`` says once per sensor why there is no value, until there is one."""

    def __init__(
        self,
        load: Callable[[], Any] = lambda: importlib.import_module("pynvml"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.missing: dict[str, str] = {}
        self._load = load
        self._clock = clock
        self._nvml: Any = None
        self._devices: list[_Device] = []
        self._not_before = 0.0

    def read(self, pids: frozenset[int]) -> tuple[DeviceReading, ...]:
        """Return what every device says now; none while there is no driver.

        Args:
            pids: of the engine, whose memory is told apart.
        """
        if self._nvml is None and (self._clock() < self._not_before or not self._open()):
            return ()
        try:
            return tuple(self._reading(device, pids) for device in self._devices)
        except _DriverGone as gone:
            self._say("gpu", f"gone while it was watched: {gone}")
            self.close()
            return ()

    def close(self) -> None:
        """Let go of NVML; it may be opened again by a later reading."""
        nvml, self._nvml, self._devices = self._nvml, None, []
        self._not_before = self._clock() + _RETRY_S
        if nvml is not None:
            _quietly(nvml.nvmlShutdown)

    def _say(self, what: str, why: str) -> None:
        self.missing.setdefault(what, why)

    def _open(self) -> bool:
        self._not_before = self._clock() + _RETRY_S
        try:
            nvml = self._load()
        except Exception as error:  # noqa: BLE001 - importing it is the driver's business
            self._say("gpu", f"pynvml cannot be imported ({error})")
            self._not_before = float("inf")
            return False
        try:
            nvml.nvmlInit()
        except Exception as error:  # noqa: BLE001 - the same
            self._say("gpu", f"no NVIDIA GPU with a driver here ({error})")
            return False
        try:
            self._devices = list(self._visible(nvml))
        except Exception as error:  # noqa: BLE001 - the same
            self._say("gpu", f"the devices cannot be listed ({error})")
        if not self._devices:
            self._say("gpu", "no GPU is visible to this process")
            _quietly(nvml.nvmlShutdown)
            return False
        self._nvml = nvml
        return True

    def _visible(self, nvml: Any) -> Iterator[_Device]:
        allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                board = nvml.nvmlDeviceGetHandleByIndex(index)
                uuid = text(nvml.nvmlDeviceGetUUID(board))
                slices = list(self._slices(nvml, board))
            except Exception as error:  # noqa: BLE001 - the other devices may be well
                self._say(f"GPU {index}", str(error))
                continue
            whole = is_visible(index, uuid, allowed)
            if slices:
                for name, handle in slices:
                    if whole or is_visible(-1, name, allowed):
                        yield _Device(name, name, handle, uuid, board, is_slice=True)
            elif whole:
                yield _Device(uuid, uuid, board, uuid, board)

    def _slices(self, nvml: Any, board: Any) -> Iterator[tuple[str, Any]]:
        """Yield the MIG instances of a device; none where it is not divided, or cannot be."""
        try:
            current, _ = nvml.nvmlDeviceGetMigMode(board)
            most = nvml.nvmlDeviceGetMaxMigDeviceCount(board) if current else 0
        except Exception:  # noqa: BLE001 - most devices do not know the word
            return
        for index in range(most):
            try:
                handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(board, index)
                uuid = text(nvml.nvmlDeviceGetUUID(handle))
            except Exception:  # noqa: BLE001, S112 - places without an instance are many
                continue
            yield uuid, handle

    def _reading(self, device: _Device, pids: frozenset[int]) -> DeviceReading:
        empty = DeviceReading(device=device.uuid, board=device.board_uuid)
        if self._clock() < device.not_before:
            return empty
        nvml, handle, board = self._nvml, device.handle, device.board
        try:
            memory = self._ask(
                device, "gpu_memory_used_bytes", lambda: used_of(nvml.nvmlDeviceGetMemoryInfo(handle))
            )
            own = (
                self._ask(
                    device,
                    "gpu_process_memory_bytes",
                    lambda: owned(nvml.nvmlDeviceGetComputeRunningProcesses(handle), pids),
                )
                if pids
                else None
            )

            def number(name: str, ask: Callable[[], float]) -> float | None:
                return self._ask(device, name, lambda: plausible(ask(), MOST[name]))

            return DeviceReading(
                device=device.uuid,
                board=device.board_uuid,
                gpu_memory_used_bytes=memory and memory[0],
                gpu_memory_total_bytes=memory and memory[1],
                gpu_process_memory_bytes=own,
                gpu_utilization_percent=number(
                    "gpu_utilization_percent", lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu
                ),
                gpu_temperature_c=number(
                    "gpu_temperature_c", lambda: nvml.nvmlDeviceGetTemperature(board, _GPU_CORE)
                ),
                gpu_power_w=number("gpu_power_w", lambda: nvml.nvmlDeviceGetPowerUsage(board) / 1000),
                gpu_sm_clock_mhz=number("gpu_sm_clock_mhz", lambda: nvml.nvmlDeviceGetClockInfo(board, _SM)),
                gpu_memory_clock_mhz=number(
                    "gpu_memory_clock_mhz", lambda: nvml.nvmlDeviceGetClockInfo(board, _MEMORY)
                ),
                throttle=self._ask(device, "throttle", lambda: throttle_reasons(nvml, board)),
            )
        except _DriverGone:
            raise
        except _Gone as gone:
            self._say(device.name, f"gone while it was watched: {gone}")
            device.not_before = self._clock() + _RETRY_S
            return empty

    def _ask(self, device: _Device, sensor: str, ask: Callable[[], T]) -> T | None:
        """Return what a sensor says, or None.

        Raises:
            _Gone: there is nobody to ask any more.
        """
        if sensor in device.absent:
            return None
        name = f"{sensor} of {device.name}"
        try:
            value = ask()
        except AttributeError as error:
            device.absent.add(sensor)
            self._say(name, f"not in this pynvml ({error})")
        except Exception as error:  # noqa: BLE001 - whatever a driver does, the other sensors are asked
            code = getattr(error, "value", None)
            if code in _DRIVER_GONE:
                raise _DriverGone(_DRIVER_GONE[code]) from None
            if code in _DEVICE_GONE:
                raise _Gone(_DEVICE_GONE[code]) from None
            if code in NEVER:
                device.absent.add(sensor)
                whose = " for a MIG instance" if device.is_slice else ""
                self._say(name, f"{NEVER[code]}{whose}")
            else:
                self._say(name, str(error) or type(error).__name__)
        else:
            # Some come later: an engine has no memory there before its model is loaded.
            self.missing.pop(name, None)
            return value
        return None


def _quietly(call: Callable[[], object]) -> None:
    try:
        call()
    except Exception:  # noqa: BLE001 - what is let go of may be gone already
        return
