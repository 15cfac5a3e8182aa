from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.telemetry.nvml import NvmlSensors
from overnight.telemetry.nvml_values import decoded
from overnight.telemetry.sensors import GPU_SIGNALS

# There is no GPU where these run: NVML is a stand-in throughout.

SENSORS = {
    "nvmlDeviceGetMemoryInfo": ("gpu_memory_used_bytes",),
    "nvmlDeviceGetUtilizationRates": ("gpu_utilization_percent",),
    "nvmlDeviceGetTemperature": ("gpu_temperature_c",),
    "nvmlDeviceGetPowerUsage": ("gpu_power_w",),
    "nvmlDeviceGetClockInfo": ("gpu_sm_clock_mhz", "gpu_memory_clock_mhz"),
    "nvmlDeviceGetCurrentClocksEventReasons": ("throttle",),
    "nvmlDeviceGetComputeRunningProcesses": ("gpu_process_memory_bytes",),
}
EVERYTHING = (*GPU_SIGNALS, "throttle")
PIDS = frozenset({7, 8})


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def known(reading: Any) -> set[str]:
    return {name for name in EVERYTHING if getattr(reading, name) is not None}


def test_a_device_that_is_well_tells_everything_in_the_units_of_its_name(fake_nvml: Any) -> None:
    [reading] = NvmlSensors(fake_nvml).read(PIDS)
    assert reading.gpu_memory_used_bytes == 6 * 2**30
    assert reading.gpu_memory_total_bytes == 16 * 2**30
    assert reading.gpu_process_memory_bytes == 5 * 2**30  # of the engine's two processes, not of the third
    assert reading.gpu_power_w == 120.5  # NVML says milliwatts
    assert (reading.gpu_sm_clock_mhz, reading.gpu_memory_clock_mhz) == (1800, 7000)
    assert (reading.gpu_utilization_percent, reading.gpu_temperature_c) == (87, 61)
    assert reading.throttle == ("sw_power_cap", "sw_thermal_slowdown")  # 0x04 and 0x20 in nvml.h


@pytest.mark.parametrize("function", SENSORS)
@pytest.mark.parametrize(
    "failure",
    [
        *("code 3", "code 4", "code 13", "code 25", "code 999", "code 10"),
        ValueError("NULL pointer access"),
        OSError("exception: access violation"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ],
    ids=str,
)
def test_a_sensor_that_fails_loses_itself_alone_and_says_why_once(
    fake_nvml: Any, function: str, failure: Any
) -> None:
    error = fake_nvml.error(int(failure.split()[1])) if isinstance(failure, str) else failure
    changes = {function: error}
    if function == "nvmlDeviceGetCurrentClocksEventReasons":
        changes["nvmlDeviceGetCurrentClocksThrottleReasons"] = error
    sensors = NvmlSensors(lambda: fake_nvml(**changes))
    for _ in range(3):
        [reading] = sensors.read(PIDS)
    assert known(reading) == set(EVERYTHING) - set(SENSORS[function])
    assert set(sensors.missing) == {f"{signal} of GPU-0" for signal in SENSORS[function]}
    assert all(sensors.missing.values())


@pytest.mark.parametrize("function", SENSORS)
def test_a_function_that_an_old_pynvml_lacks_is_a_missing_sensor(fake_nvml: Any, function: str) -> None:
    nvml = fake_nvml()
    del nvml.answers[function]
    sensors = NvmlSensors(lambda: nvml)
    [reading] = sensors.read(PIDS)
    assert known(reading) == set(EVERYTHING) - set(SENSORS[function])
    assert all("not in this pynvml" in reason for reason in sensors.missing.values())


def test_the_older_name_of_the_throttle_reasons_is_asked_where_the_newer_one_is_not_there(
    fake_nvml: Any,
) -> None:
    for absent in (fake_nvml.error(13), AttributeError()):
        nvml = fake_nvml(
            nvmlDeviceGetCurrentClocksEventReasons=absent, nvmlDeviceGetCurrentClocksThrottleReasons=0x40
        )
        [reading] = NvmlSensors(lambda nvml=nvml: nvml).read(PIDS)
        assert reading.throttle == ("hw_thermal_slowdown",)


def test_a_sensor_that_is_not_supported_is_not_asked_again_and_one_that_was_busy_is(fake_nvml: Any) -> None:
    for code, n_more in ((3, 0), (10, 2)):
        asked = []

        def power(_: Any, code: int = code, asked: list[int] = asked) -> int:
            asked.append(1)
            raise fake_nvml.error(code)

        sensors = NvmlSensors(lambda power=power: fake_nvml(nvmlDeviceGetPowerUsage=power))
        for _ in range(3):
            sensors.read(PIDS)
        assert len(asked) == 1 + n_more


@pytest.mark.parametrize("garbage", [2**32 - 1, 2**64 - 1, -1, float("nan"), float("inf")])
def test_garbage_is_no_value(fake_nvml: Any, garbage: float) -> None:
    nvml = fake_nvml(
        nvmlDeviceGetMemoryInfo=SimpleNamespace(used=garbage, total=16 << 30),
        nvmlDeviceGetUtilizationRates=SimpleNamespace(gpu=garbage),
        nvmlDeviceGetTemperature=garbage,
        nvmlDeviceGetPowerUsage=garbage * 1000,
        nvmlDeviceGetClockInfo=garbage,
        nvmlDeviceGetCurrentClocksEventReasons=garbage,
        nvmlDeviceGetComputeRunningProcesses=[SimpleNamespace(pid=7, usedGpuMemory=garbage)],
    )
    if garbage == 2**32 - 1:  # four gigabytes of memory are none
        nvml.answers["nvmlDeviceGetMemoryInfo"].total = garbage - 1
        nvml.answers["nvmlDeviceGetComputeRunningProcesses"] = []
    sensors = NvmlSensors(lambda: nvml)
    [reading] = sensors.read(PIDS)
    assert known(reading) == set()
    assert len(sensors.missing) == len(EVERYTHING)


def test_windows_does_not_say_what_a_process_has_and_neither_do_we(fake_nvml: Any) -> None:
    nvml = fake_nvml(nvmlDeviceGetComputeRunningProcesses=[SimpleNamespace(pid=7, usedGpuMemory=None)])
    sensors = NvmlSensors(lambda: nvml)
    assert sensors.read(PIDS)[0].gpu_process_memory_bytes is None
    # In a container NVML may list process ids of the host: the engine's are not among them.
    assert sensors.read(frozenset({12345}))[0].gpu_process_memory_bytes is None
    assert sensors.read(frozenset())[0].gpu_process_memory_bytes is None


def test_a_process_that_comes_to_the_device_later_is_no_missing_sensor_then(fake_nvml: Any) -> None:
    nvml = fake_nvml()
    listed, nvml.answers["nvmlDeviceGetComputeRunningProcesses"] = (
        nvml.answers["nvmlDeviceGetComputeRunningProcesses"],
        [],
    )
    sensors = NvmlSensors(lambda: nvml)
    sensors.read(PIDS)
    assert set(sensors.missing) == {"gpu_process_memory_bytes of GPU-0"}
    nvml.answers["nvmlDeviceGetComputeRunningProcesses"] = listed
    assert sensors.read(PIDS)[0].gpu_process_memory_bytes == 5 * 2**30
    assert sensors.missing == {}


def test_a_gpu_that_is_lost_in_mid_run_leaves_the_others_and_is_looked_for_again(fake_nvml: Any) -> None:
    lost = [False]

    def temperature(device: Any, _: int) -> int:
        if lost[0] and device.index == 0:
            raise fake_nvml.error(15)
        return 50

    clock = Clock()
    sensors = NvmlSensors(lambda: fake_nvml(2, nvmlDeviceGetTemperature=temperature), clock)
    assert [known(reading) == set(EVERYTHING) for reading in sensors.read(PIDS)] == [True, True]
    lost[0] = True
    first, second = sensors.read(PIDS)
    assert known(first) == set()
    assert known(second) == set(EVERYTHING)
    assert "lost" in sensors.missing["GPU-0"]
    lost[0] = False
    assert known(sensors.read(PIDS)[0]) == set()  # not at once: asking a dead device may take long
    clock.now += 31
    assert known(sensors.read(PIDS)[0]) == set(EVERYTHING)


@pytest.mark.parametrize("code", [1, 9, 18])
def test_a_driver_that_is_unloaded_and_loaded_again_is_found_again(fake_nvml: Any, code: int) -> None:
    clock, nvml = Clock(), fake_nvml()
    sensors = NvmlSensors(lambda: nvml, clock)
    assert sensors.read(PIDS)
    plain = nvml.answers["nvmlDeviceGetMemoryInfo"]
    nvml.answers["nvmlDeviceGetMemoryInfo"] = nvml.answers["nvmlShutdown"] = fake_nvml.error(code)
    assert sensors.read(PIDS) == ()
    assert "gone" in sensors.missing["gpu"]
    nvml.answers["nvmlDeviceGetMemoryInfo"] = plain
    assert sensors.read(PIDS) == ()
    clock.now += 31
    assert len(sensors.read(PIDS)) == 1
    assert nvml.n_inits == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"nvmlInit": 12},
        {"nvmlInit": 9},
        {"nvmlDeviceGetCount": 999},
        {"nvmlDeviceGetHandleByIndex": 15},
        {"nvmlDeviceGetUUID": 4},
    ],
)
def test_without_a_device_there_is_a_reason_and_nothing_else(fake_nvml: Any, changes: dict[str, int]) -> None:
    errors = {name: fake_nvml.error(code) for name, code in changes.items()}
    sensors = NvmlSensors(lambda: fake_nvml(**errors))
    assert sensors.read(PIDS) == ()
    assert sensors.missing["gpu"]
    sensors.close()


@pytest.mark.parametrize("error", [ImportError("no module"), OSError("libnvidia-ml.so.1")])
def test_without_pynvml_there_is_a_reason_and_it_is_not_looked_for_again(error: Exception) -> None:
    n = 0

    def load() -> Any:
        nonlocal n
        n += 1
        raise error

    clock = Clock()
    sensors = NvmlSensors(load, clock)
    for _ in range(3):
        assert sensors.read(PIDS) == ()
        clock.now += 1000
    assert n == 1
    assert "pynvml cannot be imported" in sensors.missing["gpu"]


def divided(fake_nvml: Any) -> Any:
    slices = [SimpleNamespace(uuid=f"MIG-{n}", index=n) for n in range(2)]

    def instance(_: Any, index: int) -> Any:
        if index >= len(slices):
            raise fake_nvml.error(6)
        return slices[index]

    def whole_only(value: Any) -> Any:
        def ask(device: Any, *_: Any) -> Any:
            if device.uuid.startswith("MIG-"):
                raise fake_nvml.error(3)
            return value

        return ask

    return fake_nvml(
        nvmlDeviceGetMigMode=(1, 1),
        nvmlDeviceGetMaxMigDeviceCount=7,
        nvmlDeviceGetMigDeviceHandleByIndex=instance,
        nvmlDeviceGetMemoryInfo=lambda device: SimpleNamespace(used=(device.index + 1) << 30, total=5 << 30),
        nvmlDeviceGetUtilizationRates=whole_only(SimpleNamespace(gpu=50)),
        nvmlDeviceGetTemperature=whole_only(60),
        nvmlDeviceGetPowerUsage=whole_only(200_000),
        nvmlDeviceGetClockInfo=whole_only(1000),
        nvmlDeviceGetCurrentClocksEventReasons=whole_only(0),
    )


def test_mig_instances_have_their_own_memory_and_the_temperature_and_power_of_their_board(
    fake_nvml: Any,
) -> None:
    sensors = NvmlSensors(lambda: divided(fake_nvml))
    first, second = sensors.read(PIDS)
    assert (first.device, second.device, first.board, second.board) == ("MIG-0", "MIG-1", "GPU-0", "GPU-0")
    assert (first.gpu_memory_used_bytes, second.gpu_memory_used_bytes) == (1 << 30, 2 << 30)
    assert (first.gpu_power_w, first.gpu_temperature_c, first.throttle) == (200, 60, ())
    # Utilisation is not there for an instance (NVML's documentation of nvmlDeviceGetUtilizationRates).
    assert first.gpu_utilization_percent is None
    assert sensors.missing["gpu_utilization_percent of MIG-0"] == "not supported for a MIG instance"


def test_an_instance_that_is_hidden_is_not_read(fake_nvml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1")
    assert [r.device for r in NvmlSensors(lambda: divided(fake_nvml)).read(PIDS)] == ["MIG-1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert NvmlSensors(lambda: divided(fake_nvml)).read(PIDS) == ()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [r.device for r in NvmlSensors(lambda: fake_nvml(2)).read(PIDS)] == ["GPU-1"]


@given(st.integers(min_value=0, max_value=2**31 - 1))
def test_every_bit_of_the_reasons_has_one_word(bits: int) -> None:
    words = decoded(bits)
    assert len(words) == len(set(words)) == bits.bit_count()


def test_uuids_in_bytes_are_read_too(fake_nvml: Any) -> None:
    # pynvml before version 11.5 answered in bytes.
    [reading] = NvmlSensors(lambda: fake_nvml(nvmlDeviceGetUUID=b"GPU-0")).read(PIDS)
    assert reading.device == "GPU-0"
