import sys
from types import SimpleNamespace
from typing import Any

import pytest

from overnight.diagnosis.machine.check import Status
from overnight.diagnosis.machine.gpus import Gpu, judge_gpu, read_gpus, throttle_reasons

GIB = 2**30
IDLE = Gpu(
    name="a GPU", total=16 * GIB, used=GIB, driver="580.1", cuda="13.0", is_persistent=True, temperature_c=40
)


class FakeNVMLError(Exception):
    pass


def unsupported(*_: Any) -> Any:
    raise FakeNVMLError("Not Supported")


def fake_nvml(**changes: Any) -> SimpleNamespace:
    """Return what stands in for pynvml: one device that answers everything, but for what is changed."""
    answers: dict[str, Any] = {
        "NVMLError": FakeNVMLError,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetName": lambda _: "NVIDIA H100",
        "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(total=80 * GIB, used=10 * GIB),
        "nvmlSystemGetDriverVersion": lambda: "580.1",
        "nvmlSystemGetCudaDriverVersion": lambda: 12040,
        "nvmlDeviceGetMigMode": lambda _: (0, 0),
        "nvmlDeviceGetPersistenceMode": lambda _: 1,
        "nvmlDeviceGetTemperature": lambda _, __: 41,
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda _: 0x1,
        "nvmlDeviceGetComputeRunningProcesses": lambda _: [SimpleNamespace(pid=7, usedGpuMemory=9 * GIB)],
    }
    return SimpleNamespace(**(answers | changes))


def test_a_device_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    # CUDA's version is 1000 x major + 10 x minor, in nvml.h.
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    assert read_gpus() == [
        Gpu(
            name="NVIDIA H100",
            total=80 * GIB,
            used=10 * GIB,
            driver="580.1",
            cuda="12.4",
            is_mig=False,
            is_persistent=True,
            temperature_c=41,
            others=((7, 9 * GIB),),
        )
    ]


@pytest.mark.parametrize(
    "name",
    [
        "nvmlDeviceGetMemoryInfo",
        "nvmlDeviceGetMigMode",
        "nvmlDeviceGetPersistenceMode",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetCurrentClocksThrottleReasons",
        "nvmlDeviceGetComputeRunningProcesses",
        "nvmlSystemGetCudaDriverVersion",
    ],
)
def test_what_a_device_does_not_have_costs_its_own_field(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    # A MIG slice has no temperature, a laptop's GPU no persistence mode, unified memory no size.
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(**{name: unsupported}))
    (gpu,) = read_gpus()
    assert isinstance(gpu, Gpu)
    assert judge_gpu(0, gpu).what.startswith("NVIDIA H100")


@pytest.mark.parametrize("name", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex"])
def test_a_driver_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(**{name: unsupported}))
    assert "Not Supported" in str(read_gpus())


def test_memory_that_other_processes_hold_is_named_with_them() -> None:
    check = judge_gpu(0, IDLE._replace(others=((7, 3 * GIB), (8, 2 * GIB))))
    assert check.status is Status.NOTE
    assert check.remedy is not None
    assert "7, 8" in check.remedy
    assert judge_gpu(0, IDLE._replace(others=((7, GIB),))).status is Status.OK


def test_heat_slices_and_slow_clocks_are_worth_a_word() -> None:
    assert judge_gpu(0, IDLE).status is Status.OK
    for change in ({"temperature_c": 90}, {"is_mig": True}, {"throttled_by": ("heat (hardware)",)}):
        assert judge_gpu(0, IDLE._replace(**change)).status is Status.NOTE


def test_the_low_clocks_of_an_idle_gpu_are_no_reason_to_worry() -> None:
    # nvml.h: 0x1 is idle, 0x40 is a slowdown by heat.
    assert throttle_reasons(0x1) == ()
    assert throttle_reasons(0x41) == ("heat (hardware)",)
