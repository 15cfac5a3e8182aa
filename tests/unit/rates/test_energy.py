import threading
import time
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from overnight.store.manifest import Energy
from overnight.telemetry import energy
from overnight.telemetry.energy import Counters, energy_between, is_visible, read_counters


def counters(**millijoules: int) -> Counters:
    return Counters(millijoules=millijoules)


def test_energy_is_the_difference_of_all_counters_in_joules() -> None:
    # NVML counts in mJ since the driver was loaded.
    assert energy_between(counters(a=1000, b=5000), counters(a=3500, b=5500)) == Energy(joules=3.0)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (Counters(millijoules={}, undefined_because="no GPU"), counters(), "no GPU"),
        (counters(a=1), Counters(millijoules={}, undefined_because="driver gone"), "driver gone"),
        (counters(a=1), counters(b=2), "not the same before and after"),
        (counters(a=5), counters(a=4), "set back"),
    ],
)
def test_a_counter_that_is_missing_or_fell_gives_a_reason_and_no_number(
    before: Counters, after: Counters, reason: str
) -> None:
    energy = energy_between(before, after)
    assert energy.joules is None
    assert reason in str(energy.undefined_because)


def test_stretches_add_up_and_one_unknown_makes_the_sum_unknown() -> None:
    known, unknown = Energy(joules=2.0), Energy(undefined_because="no counter")
    assert known.plus(None) == known
    assert known.plus(known) == Energy(joules=4.0)
    assert known.plus(unknown) == unknown.plus(known) == unknown


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, True),
        ("0", False),
        ("1", True),
        ("0,1", True),
        ("", False),
        ("GPU-ab", True),
        ("GPU-ff", False),
    ],
)
def test_only_devices_that_this_process_may_use_count(visible: str | None, expected: bool) -> None:
    assert is_visible(1, "GPU-abcd", visible) is expected


def nvml(monkeypatch: pytest.MonkeyPatch, **functions: Any) -> None:
    plain = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: SimpleNamespace(index=index),
        "nvmlDeviceGetUUID": lambda device: f"GPU-{device.index}",
        "nvmlDeviceGetTotalEnergyConsumption": lambda device: 100 + device.index,
    }
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name, function in (plain | functions).items():
        monkeypatch.setattr(pynvml, name, function)


def test_counters_are_read_by_device(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch)
    assert read_counters().millijoules == {"GPU-0": 100, "GPU-1": 101}


@pytest.mark.parametrize(
    ("function", "code"),
    [
        ("nvmlInit", pynvml.NVML_ERROR_LIBRARY_NOT_FOUND),
        ("nvmlInit", pynvml.NVML_ERROR_DRIVER_NOT_LOADED),
        ("nvmlDeviceGetCount", pynvml.NVML_ERROR_UNKNOWN),
        ("nvmlDeviceGetTotalEnergyConsumption", pynvml.NVML_ERROR_NOT_SUPPORTED),
    ],
)
def test_a_failure_of_nvml_is_a_reason_and_never_an_error(
    monkeypatch: pytest.MonkeyPatch, function: str, code: int
) -> None:
    def fail(*_: object) -> None:
        raise pynvml.NVMLError(code)

    nvml(monkeypatch, **{function: fail})
    found = read_counters()
    assert found.millijoules == {}
    assert found.undefined_because


def test_a_failing_end_of_nvml_is_no_error_either(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)

    nvml(monkeypatch, nvmlShutdown=fail)
    assert read_counters().undefined_because is None


def test_a_driver_that_hangs_is_asked_once_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    n = 0

    def hang() -> int:
        nonlocal n
        n += 1
        goes_on.wait(10)
        return 2

    monkeypatch.setattr(energy, "_ANSWER_S", 0.05)
    nvml(monkeypatch, nvmlDeviceGetCount=hang)
    began = time.perf_counter()
    found = [read_counters() for _ in range(5)]
    assert time.perf_counter() - began < 0.5
    assert n == 1
    assert {each.undefined_because for each in found} == {"NVML does not answer"}
    goes_on.set()
    assert energy._READER._stuck is not None
    energy._READER._stuck.join(5)
    assert read_counters().undefined_because is None


def test_a_pynvml_without_the_counter_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch)
    monkeypatch.delattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption")
    assert "no energy counter" in str(read_counters().undefined_because)
