"""What NVML's answers mean: reasons in words, and numbers that no sensor means."""

from typing import Any

# Return codes of nvml.h that say that this device, driver or user does not have a sensor.
NEVER = {3: "not supported", 4: "no permission", 13: "not in this driver", 25: "not in this version"}
# Bits of nvmlClocksEventReasons (nvml.h), formerly called throttle reasons.
_REASONS = {
    0x1: "idle",
    0x2: "applications_clocks_setting",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
}
# A broken sensor says 2^32 - 1 or 2^64 - 1; nothing that is sold comes near these bounds.
MOST = {
    "gpu_utilization_percent": 100,
    "gpu_temperature_c": 200,
    "gpu_power_w": 20_000,
    "gpu_sm_clock_mhz": 20_000,
    "gpu_memory_clock_mhz": 100_000,
}
_MOST_BYTES = 1 << 50


def decoded(bits: int) -> tuple[str, ...]:
    """Return the clocks event reasons of a bit mask in words; a bit that has no name yet by its value."""
    return tuple(
        _REASONS.get(1 << place, f"unknown_{1 << place:#x}")
        for place in range(bits.bit_length())
        if bits >> place & 1
    )


def throttle_reasons(nvml: Any, board: Any) -> tuple[str, ...]:
    """Return why the clocks of a device are not higher.

    Raises:
        ValueError: the answer is no set of reasons.
        Exception: whatever NVML raises.
    """
    try:
        bits = nvml.nvmlDeviceGetCurrentClocksEventReasons(board)
    except Exception as error:
        # Before driver 535 the same call had another name.
        if not isinstance(error, AttributeError) and getattr(error, "value", None) not in NEVER:
            raise
        bits = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(board)
    if not 0 <= bits < 1 << 31:
        raise ValueError(f"found {bits}, which no sensor means")
    return decoded(bits)


def used_of(memory: Any) -> tuple[float, int]:
    """Return the used and the total bytes of an answer about memory.

    Raises:
        ValueError: no device has such a memory.
    """
    used, total = memory.used, memory.total
    if not 0 <= used <= total <= _MOST_BYTES or not total:
        raise ValueError(f"found {used} of {total} bytes, which no sensor means")
    return float(used), int(total)


def owned(processes: list[Any], pids: frozenset[int]) -> float:
    """Return the memory of some processes together.

    Raises:
        ValueError: none of them is listed, or the driver does not say how much they have.
    """
    sizes = [process.usedGpuMemory for process in processes if process.pid in pids]
    if not sizes:
        raise ValueError(
            "no process of the engine is on the device's list (it may work elsewhere, or NVML sees other process ids)"
        )
    known = [float(size) for size in sizes if size is not None and 0 <= size <= _MOST_BYTES]
    if len(known) < len(sizes):
        raise ValueError("the driver does not say how much memory a process has")
    return sum(known)


def plausible(value: float, most: float) -> float:
    """Return a value from 0 to ``most``.

    Raises:
        ValueError: it is another one.
    """
    if not 0 <= value <= most:
        raise ValueError(f"found {value:g}, which no sensor means")
    return float(value)


def text(value: str | bytes) -> str:
    """Return a name, which old versions of pynvml give in bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
