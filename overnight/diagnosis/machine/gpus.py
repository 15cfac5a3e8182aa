"""NVIDIA devices as NVML shows them; a field that a device does not have is None."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from overnight.diagnosis.machine.check import Check, Surroundings, note, ok
from overnight.diagnosis.rules.common import amount
from overnight.diagnosis.rules.machine import HOT_C

OTHERS_SHARE = 0.25  # ours: of the device's memory
_IDLE_REASON = 0x1  # nvmlClocksEventReasonGpuIdle: no reason to worry
_REASONS = {
    0x2: "applications' clocks setting",
    0x4: "power limit",
    0x8: "hardware slowdown (heat or power)",
    0x10: "sync boost",
    0x20: "heat (software)",
    0x40: "heat (hardware)",
    0x80: "power brake (hardware)",
    0x100: "display clocks setting",
}  # nvml.h, nvmlClocksEventReasons


class Gpu(NamedTuple):
    """One device now."""

    name: str
    total: int | None = None  # bytes
    used: int | None = None
    driver: str | None = None
    cuda: str | None = None  # the newest that the driver runs
    is_mig: bool | None = None
    is_persistent: bool | None = None
    temperature_c: int | None = None
    throttled_by: tuple[str, ...] = ()
    others: tuple[tuple[int, int], ...] = ()  # process id and bytes


def check_gpus(around: Surroundings) -> list[Check]:
    """Say which NVIDIA devices there are, and what else runs on them."""
    del around
    found = read_gpus()
    if isinstance(found, str):
        return [note("gpu", found)]
    return [judge_gpu(index, gpu) for index, gpu in enumerate(found)]


def read_gpus() -> list[Gpu] | str:
    """Return what NVML says of every device, or why it says nothing."""
    try:
        import pynvml  # noqa: PLC0415 - its import is the driver's business
    except ImportError:
        return "pynvml is not installed; NVIDIA devices cannot be seen"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return f"no NVIDIA GPU with a driver here ({error}); models run on the processor, or on Apple's GPU"
    try:
        return [
            _read(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())
        ] or "no NVIDIA GPU is visible"
    except pynvml.NVMLError as error:
        return f"NVML does not answer ({error})"
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _read(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)

    def ask(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (nvml.NVMLError, AttributeError):  # not supported by the device, or not known to this pynvml
            return None

    memory = ask(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
    cuda = ask(nvml.nvmlSystemGetCudaDriverVersion)
    mig = ask(lambda: nvml.nvmlDeviceGetMigMode(handle))
    persistence = ask(lambda: nvml.nvmlDeviceGetPersistenceMode(handle))
    reasons = ask(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)) or 0
    processes = ask(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle)) or []
    return Gpu(
        name=str(ask(lambda: nvml.nvmlDeviceGetName(handle)) or "GPU"),
        total=int(memory.total) if memory else None,
        used=int(memory.used) if memory else None,
        driver=ask(nvml.nvmlSystemGetDriverVersion),
        cuda=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
        is_mig=bool(mig[0]) if mig else None,
        is_persistent=None if persistence is None else bool(persistence),
        temperature_c=ask(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        throttled_by=throttle_reasons(reasons),
        others=tuple((p.pid, p.usedGpuMemory or 0) for p in processes if p.pid != os.getpid()),
    )


def throttle_reasons(bits: int) -> tuple[str, ...]:
    """Return in words why clocks are held down; an idle device's low clocks are no reason."""
    return tuple(name for bit, name in _REASONS.items() if bits & bit & ~_IDLE_REASON)


def judge_gpu(index: int, gpu: Gpu) -> Check:
    """Judge one device: what others hold of its memory, heat, and what keeps it from being used whole."""
    name = f"gpu {index}"
    memory = (
        f"{amount(gpu.used, 'bytes')} of {amount(gpu.total, 'bytes')} used"
        if gpu.used is not None and gpu.total is not None
        else "memory unknown"
    )
    temperature = f", {gpu.temperature_c} C" if gpu.temperature_c is not None else ""
    text = f"{gpu.name}: {memory}{temperature}, driver {gpu.driver or '?'} (CUDA {gpu.cuda or '?'})"
    values = {**gpu._asdict(), "others": [list(pair) for pair in gpu.others]}
    held = sum(used for _, used in gpu.others)
    if gpu.total and held > OTHERS_SHARE * gpu.total:
        pids = ", ".join(str(pid) for pid, _ in gpu.others)
        return note(
            name,
            f"{text}; other processes hold {amount(held, 'bytes')}",
            f"end what you can of: {pids}",
            **values,
        )
    if gpu.throttled_by:
        reasons = ", ".join(gpu.throttled_by)
        return note(
            name,
            f"{text}; clocks are held down now: {reasons}",
            "let it cool, or look at its power limit",
            **values,
        )
    if gpu.temperature_c is not None and gpu.temperature_c > HOT_C:
        return note(name, f"{text}; it is hot before anything runs", "let air in", **values)
    if gpu.is_mig:
        return note(name, f"{text}; MIG is on: a process sees one slice of it", None, **values)
    if gpu.is_persistent is False and sys.platform != "win32":
        return ok(name, f"{text}; persistence mode is off, so the first load of a night is slower", **values)
    return ok(name, text, **values)
