"""One look at the machine: what each device says, what the system says, and what cannot be told.

A sensor that is not there is None, and why is said once, in ``missing``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

GPU_SIGNALS = (
    "gpu_utilization_percent",
    "gpu_memory_used_bytes",
    "gpu_process_memory_bytes",
    "gpu_temperature_c",
    "gpu_power_w",
    "gpu_sm_clock_mhz",
    "gpu_memory_clock_mhz",
)
SYSTEM_SIGNALS = ("cpu_percent", "ram_used_bytes", "ram_available_bytes", "host_rss_bytes")
SIGNALS = GPU_SIGNALS + SYSTEM_SIGNALS


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReading:
    """One GPU, or one MIG instance of one, at one moment.

    Temperature, power, clocks and throttle reasons are those of the whole board, also for a MIG instance.
    """

    device: str  # UUID
    board: str  # UUID of the physical device; the same but for MIG instances
    gpu_memory_total_bytes: int | None = None
    gpu_utilization_percent: float | None = None
    gpu_memory_used_bytes: float | None = None
    gpu_process_memory_bytes: float | None = None  # of the engine's processes
    gpu_temperature_c: float | None = None
    gpu_power_w: float | None = None
    gpu_sm_clock_mhz: float | None = None
    gpu_memory_clock_mhz: float | None = None
    throttle: tuple[str, ...] | None = (
        None  # why the clocks are not higher; (): for no reason; None: not known
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemReading:
    """The rest of the machine at one moment."""

    cpu_percent: float | None = None  # of all cores, since the last look
    ram_used_bytes: float | None = None
    ram_available_bytes: float | None = None
    host_rss_bytes: float | None = None  # resident memory of the engine's processes, mapped weights included


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Everything at one moment."""

    t_s: float  # on the monotonic clock
    at: datetime
    period_s: float  # the time to the next sample, as it was wanted
    devices: tuple[DeviceReading, ...] = ()
    system: SystemReading = SystemReading()


class Sensors(Protocol):
    """What a sampler asks."""

    @property
    def missing(self) -> dict[str, str]:
        """Why sensors gave nothing, by what they are called."""
        ...

    def read(self) -> tuple[tuple[DeviceReading, ...], SystemReading]:
        """Return what everything says now; a sensor that fails is None."""
        ...

    def close(self) -> None:
        """Let go of the drivers."""
        ...


class MachineSensors:
    """NVML's devices and the system's own counters, for the process tree of one engine."""

    def __init__(self, engine_pid: Callable[[], int | None]) -> None:
        # Both are made where they are used, in the sampler's thread: a driver that hangs then hangs nobody else.
        from overnight.telemetry.nvml import NvmlSensors  # noqa: PLC0415
        from overnight.telemetry.system import SystemSensors  # noqa: PLC0415

        self._system = SystemSensors(engine_pid)
        self._nvml = NvmlSensors()

    @property
    def missing(self) -> dict[str, str]:
        """Why sensors gave nothing, by what they are called."""
        return {**self._nvml.missing, **self._system.missing}

    def read(self) -> tuple[tuple[DeviceReading, ...], SystemReading]:
        """Return what everything says now; a sensor that fails is None."""
        system = self._system.read()
        return self._nvml.read(self._system.pids), system

    def close(self) -> None:
        """Let go of the driver."""
        self._nvml.close()
