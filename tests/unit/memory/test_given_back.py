# ruff: noqa: N802 - the driver's own names
import itertools
import logging
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from overnight.memory.given_back import free_on_devices, wait_until_back

GIB = 1 << 30


class Driver:
    """A ``pynvml`` with one GPU of 16 GiB, of which less and less is used from look to look."""

    def __init__(self, used: Sequence[int]) -> None:
        self._used = itertools.chain(used[:-1], itertools.repeat(used[-1]))
        self.n_open = 0

    def nvmlInit(self) -> None:
        self.n_open += 1

    def nvmlShutdown(self) -> None:
        self.n_open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUUID(self, _: int) -> str:
        return "GPU-0"

    def nvmlDeviceGetName(self, _: int) -> str:
        return "H"

    def nvmlDeviceGetMemoryInfo(self, _: int) -> Any:
        used = next(self._used)
        return SimpleNamespace(free=16 * GIB - used, total=16 * GIB, used=used)

    def nvmlDeviceGetComputeRunningProcesses(self, _: int) -> Any:
        return [
            SimpleNamespace(pid=4242, usedGpuMemory=3 * GIB),
            SimpleNamespace(pid=7, usedGpuMemory=None),
        ]


@pytest.fixture(autouse=True)
def all_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def waited(driver: Driver, before: dict[str, int]) -> tuple[bool, float]:
    """Return whether the memory came back, and after how many seconds of a clock that only waiting moves."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    is_back = wait_until_back(before, "tiny", load=lambda: driver, clock=lambda: now[0], sleep=sleep)
    return is_back, now[0]


def test_the_next_model_waits_until_the_driver_has_taken_the_memory_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    driver = Driver([GIB, 5 * GIB, 4 * GIB, GIB])
    before = free_on_devices(lambda: driver)
    assert before == {"GPU 0 H": 15 * GIB}
    is_back, seconds = waited(driver, before)
    assert is_back
    assert seconds == pytest.approx(0.4)  # two looks in vain
    assert not caplog.records
    assert driver.n_open == 0


def test_memory_that_stays_away_is_a_warning_that_names_who_holds_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        is_back, seconds = waited(Driver([4 * GIB]), {"GPU 0 H": 15 * GIB})
    assert not is_back
    assert seconds == pytest.approx(15, abs=0.3)
    (line,) = caplog.messages
    assert "tiny" in line
    assert "3.0 GiB of GPU 0 H are not back" in line
    assert "process 4242 on GPU 0 (3.0 GiB), process 7 on GPU 0" in line


def test_what_a_driver_keeps_for_itself_is_not_waited_for() -> None:
    # The first context of a driver leaves some MiB behind that no process holds.
    assert waited(Driver([100 << 20]), {"GPU 0 H": 16 * GIB}) == (True, 0.0)


def test_more_free_than_before_is_back_as_well() -> None:
    # An Ollama server may have let go of another model to make room.
    assert waited(Driver([0]), {"GPU 0 H": 8 * GIB}) == (True, 0.0)


def no_driver() -> Any:
    raise ImportError("no pynvml")


class Gone(Driver):
    """A driver that was there and is not any more."""

    def nvmlInit(self) -> None:
        raise RuntimeError("driver not loaded")


@pytest.mark.parametrize("load", [no_driver, lambda: Gone([0])])
def test_without_a_driver_there_is_nothing_to_wait_for(load: Callable[[], Any]) -> None:
    assert free_on_devices(load) == {}
    assert wait_until_back({}, "tiny", load=load)
    assert wait_until_back({"GPU 0 H": GIB}, "tiny", load=load)
