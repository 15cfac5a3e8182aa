import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from overnight.telemetry.nvml import NvmlSensors
from overnight.telemetry.sampler import Sampler
from overnight.telemetry.sensors import DeviceReading, MachineSensors, Sample, SystemReading
from overnight.telemetry.system import SystemSensors
from overnight.telemetry.table import COLUMNS, SampleTable, read_samples, table_size

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GPU = DeviceReading(
    device="GPU-0", board="GPU-0", gpu_memory_total_bytes=8, gpu_power_w=12.5, throttle=("idle",)
)


class Scripted:
    """Sensors whose every reading is a step of a script; an error is raised, a number of seconds is slept."""

    def __init__(self, *steps: Any) -> None:
        self.missing: dict[str, str] = {}
        self._steps = iter(steps)
        self.closed = False

    def read(self) -> tuple[tuple[DeviceReading, ...], SystemReading]:
        step = next(self._steps, None)
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, (float, int)):
            time.sleep(step)
        return (GPU,), SystemReading(cpu_percent=10)

    def close(self) -> None:
        self.closed = True


class Ticks:
    """A clock that moves only while it is waited for, and while a sensor takes its time."""

    def __init__(self, n_ticks: int) -> None:
        self.now = 100.0
        self.waited: list[float] = []
        self._n_ticks = n_ticks

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waited.append(seconds)
        self.now += seconds
        return len(self.waited) > self._n_ticks


def sampled(sensors: Any, n_ticks: int = 3, path: Path | None = None) -> Sampler:
    ticks = Ticks(n_ticks)
    sampler = Sampler(lambda: sensors, hz=2, path=path, clock=ticks.clock, wait=ticks.wait)
    sampler.start()
    sampler._thread.join(5)
    sampler.stop()
    return sampler


def test_samples_go_into_the_table_one_row_a_device_and_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "telemetry" / "tiny.csv"
    sampler = sampled(Scripted(), n_ticks=3, path=path)
    assert [sample.t_s for sample in read_samples(path)] == [100.0, 100.5, 101.0]
    assert all(s.devices == (GPU,) and s.system == SystemReading(cpu_percent=10) for s in read_samples(path))
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS)
    assert (sampler.machine().samples, sampler.ended_because, sampler.is_alive) == (3, None, False)


def test_ticks_lie_on_a_grid_that_slow_samples_do_not_move() -> None:
    ticks = Ticks(5)
    times = []

    class Slow(Scripted):
        def read(self) -> Any:
            times.append(ticks.now)
            ticks.now += 1.2 if len(times) == 2 else 0.1
            return super().read()

    sampler = Sampler(Slow, hz=2, clock=ticks.clock, wait=ticks.wait)
    sampler.start()
    sampler._thread.join(5)
    # The second sample took 1.2 s: the two ticks that it ran over are left out, the others are where they were.
    assert times == pytest.approx([100.0, 100.5, 102.0, 102.5, 103.0])
    assert sampler.cost().max_ms == pytest.approx(1200)


def test_a_resumed_run_appends_and_a_row_that_was_torn_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "tiny.csv"
    sampled(Scripted(), n_ticks=2, path=path)
    with path.open("ab") as file:
        file.write(b"2026-01-02T03:0")  # the machine went down here
    sampled(Scripted(), n_ticks=3, path=path)
    assert len(list(read_samples(path))) == 5
    assert path.read_text().count("timestamp") == 1


def test_a_window_of_bytes_has_the_samples_that_were_written_in_it(tmp_path: Path) -> None:
    path = tmp_path / "tiny.csv"
    assert table_size(path) == 0
    table = SampleTable(path)
    sizes = [0]
    for n in range(4):
        table.append(Sample(t_s=n, at=AT.replace(second=n), period_s=1, devices=(GPU,)))
        sizes.append(table_size(path))
    table.close()
    seconds = {
        (i, j): [s.t_s for s in read_samples(path, (sizes[i], sizes[j]))]
        for i in range(5)
        for j in range(i, 5)
    }
    assert seconds == {(i, j): list(range(i, j)) for i, j in seconds}
    # An end in the middle of a row: that row belongs to what comes next.
    assert [s.t_s for s in read_samples(path, (sizes[1], sizes[2] + 5))] == [1]
    assert [s.t_s for s in read_samples(path, since=AT.replace(second=1), until=AT.replace(second=3))] == [
        1,
        2,
    ]


def test_several_devices_and_none_are_one_sample_each(tmp_path: Path) -> None:
    table = SampleTable(tmp_path / "t.csv")
    other = DeviceReading(device="GPU-1", board="GPU-1", throttle=())
    written = [
        Sample(t_s=1.0, at=AT, period_s=0.5, devices=(GPU, other), system=SystemReading(ram_used_bytes=3)),
        Sample(t_s=1.5, at=AT, period_s=0.5),
    ]
    for sample in written:
        table.append(sample)
    table.close()
    assert list(read_samples(tmp_path / "t.csv")) == written


def test_a_table_with_other_columns_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "tiny.csv"
    path.write_text("timestamp,mine\n1,2\n")
    sampler = sampled(Scripted(), path=path)
    assert path.read_text() == "timestamp,mine\n1,2\n"
    assert sampler.machine().samples == 3  # still summed up
    assert "other" in str(sampler.ended_because) or "columns" in str(sampler.ended_because)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(5, "Input/output error")])
def test_a_full_disk_ends_the_table_with_one_warning_and_not_the_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: OSError
) -> None:
    n = 0
    append = SampleTable.append

    def full(table: SampleTable, sample: Sample) -> None:
        nonlocal n
        n += 1
        if n > 2:
            raise error
        append(table, sample)

    monkeypatch.setattr(SampleTable, "append", full)
    sampler = sampled(Scripted(), n_ticks=6, path=tmp_path / "tiny.csv")
    assert n == 3
    assert sampler.machine().samples == 6
    assert not sampler.has_table
    assert str(error.strerror) in str(sampler.ended_because)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_folder_that_cannot_be_made_costs_the_table_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "telemetry").write_text("a file where the folder should be")
    sampler = sampled(Scripted(), path=tmp_path / "telemetry" / "tiny.csv")
    assert sampler.machine().samples == 3
    assert len(caplog.records) == 1


def test_a_sample_that_fails_is_left_out_and_ten_in_a_row_are_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sampler = sampled(Scripted(None, RuntimeError("once"), None), n_ticks=3)
    assert (sampler.machine().samples, len(caplog.records)) == (2, 1)
    caplog.clear()
    sensors = Scripted(None, *[RuntimeError("always")] * 50)
    sampler = sampled(sensors, n_ticks=50)
    assert sampler.machine().samples == 1
    assert "always" in str(sampler.ended_because)
    assert (len(caplog.records), sensors.closed, sampler.is_alive) == (1, True, False)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), MemoryError()])
def test_whatever_a_sensor_raises_ends_the_sampling_at_most(
    caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    sensors = Scripted(None, *[error] * 20)
    sampler = sampled(sensors, n_ticks=30)
    assert type(error).__name__ in str(sampler.ended_because)
    assert sampler.machine().samples == 1
    assert (len(caplog.records), sensors.closed) == (1, True)


def test_sensors_that_cannot_be_made_are_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Any:
        raise ImportError("no psutil")

    with Sampler(broken, hz=10) as sampler:
        sampler._thread.join(5)
    assert "no psutil" in str(sampler.ended_because)
    assert sampler.machine().undefined_because == sampler.ended_because


def test_a_thread_that_cannot_be_had_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    with Sampler(Scripted, hz=10) as sampler:
        pass
    assert "can't start new thread" in str(sampler.ended_because)


def test_a_driver_that_hangs_holds_up_neither_the_run_nor_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    class Hanging(Scripted):
        def read(self) -> Any:
            hangs.set()
            goes_on.wait(10)
            return super().read()

    sampler = Sampler(Hanging, hz=10, path=tmp_path / "tiny.csv")
    sampler.start()
    assert hangs.wait(5)
    began = time.perf_counter()
    sampler.stop(timeout_s=0.05)
    assert time.perf_counter() - began < 0.5
    assert "did not answer" in str(sampler.ended_because)
    assert len(caplog.records) == 1
    goes_on.set()
    sampler._thread.join(5)
    # What came after the end is nobody's: the table may belong to the next block by then.
    assert list(read_samples(tmp_path / "tiny.csv")) == []
    assert not sampler.is_alive


def test_the_thread_is_gone_at_the_end_and_the_machine_was_looked_at(tmp_path: Path) -> None:
    before = threading.active_count()
    enough = threading.Event()

    class Real(MachineSensors):
        n = 0

        def read(self) -> Any:
            self.n += 1
            if self.n == 3:
                enough.set()
            return super().read()

    with Sampler(lambda: Real(os.getpid), hz=100, path=tmp_path / "t.csv") as sampler:
        assert enough.wait(5)
    assert threading.active_count() == before
    signals = sampler.machine().signals
    for name in ("cpu_percent", "ram_used_bytes", "ram_available_bytes", "host_rss_bytes"):
        summary = signals[name]
        assert summary is not None
        assert summary.n >= 1
    cost = sampler.cost()
    assert cost.mean_ms is not None
    assert cost.mean_ms < 100
    assert cost.cpu_share is not None


def test_a_machine_whose_gpu_is_lost_goes_on_with_what_it_has(fake_nvml: Any, tmp_path: Path) -> None:
    nvml = fake_nvml()

    class Losing(MachineSensors):
        def __init__(self) -> None:
            super().__init__(lambda: None)
            self._nvml = NvmlSensors(lambda: nvml)
            self._n = 0

        def read(self) -> Any:
            self._n += 1
            if self._n == 3:
                nvml.answers["nvmlDeviceGetPowerUsage"] = fake_nvml.error(15)
            return super().read()

    sampler = sampled(Losing(), n_ticks=5, path=tmp_path / "t.csv")
    assert sampler.ended_because is None
    signals = sampler.machine().signals
    power, ram = signals["gpu_power_w"], signals["ram_used_bytes"]
    assert power is not None
    assert ram is not None
    assert (power.n, ram.n) == (2, 5)
    assert "lost" in sampler.missing["GPU-0"]


class FakeProcess:
    def __init__(self, pid: int, rss: int, children: list["FakeProcess"]) -> None:
        self.pid, self._rss, self._children = pid, rss, children

    def children(self, *, recursive: bool) -> list["FakeProcess"]:
        return self._children

    def memory_info(self) -> Any:
        from types import SimpleNamespace

        import psutil

        if self._rss < 0:
            raise psutil.NoSuchProcess(self.pid)
        return SimpleNamespace(rss=self._rss)


def test_the_memory_of_an_engine_is_that_of_its_whole_tree_and_follows_it_over_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import psutil

    made: dict[int, Callable[[], FakeProcess]] = {
        5: lambda: FakeProcess(5, 100, [FakeProcess(6, 10, [])]),
        9: lambda: FakeProcess(9, 30, []),
    }

    def process(pid: int) -> FakeProcess:
        if pid not in made:
            raise psutil.NoSuchProcess(pid)
        return made[pid]()

    monkeypatch.setattr("overnight.telemetry.system.psutil.Process", process)
    pid: int | None = None
    sensors = SystemSensors(lambda: pid)
    assert sensors.read().host_rss_bytes is None
    assert "no process" in sensors.missing["host_rss_bytes"]
    pid = 5
    assert sensors.read().host_rss_bytes == 110
    assert sensors.pids == {5, 6}
    assert "host_rss_bytes" not in sensors.missing
    pid = 9  # the host died and was started again
    assert sensors.read().host_rss_bytes == 30
    pid = 4  # it is gone and nobody has said so yet
    assert sensors.read().host_rss_bytes is None
    assert sensors.pids == frozenset()


@pytest.mark.parametrize("name", ["cpu_percent", "virtual_memory", "Process"])
def test_a_counter_of_the_system_that_fails_loses_itself_alone(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def hidden(*_: object, **__: object) -> None:
        raise PermissionError("/proc is hidden")

    monkeypatch.setattr(f"overnight.telemetry.system.psutil.{name}", hidden)
    sensors = SystemSensors(os.getpid)
    sensors.read()
    reading = sensors.read()
    lost = {
        "cpu_percent": {"cpu_percent"},
        "virtual_memory": {"ram_used_bytes", "ram_available_bytes"},
        "Process": {"host_rss_bytes"},
    }[name]
    names = SystemReading.__slots__
    assert {n for n in names if getattr(reading, n) is None} == lost
    assert "hidden" in next(iter(sensors.missing.values()))
