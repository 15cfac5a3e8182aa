import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil

from overnight.memory.processes import MemoryWatch, device_memory, process_memory

MIB = 1 << 20


def test_a_process_holds_what_the_system_says(tmp_path: Path) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    (folder / "status").write_text(
        "Name:\tx\nVmHWM:\t   300 kB\nVmRSS:\t   200 kB\nRssAnon:\t 150 kB\nRssFile:\t 50 kB\nThreads:\t1\n"
    )
    found = process_memory(7, tmp_path)
    assert found is not None
    assert (found.resident, found.anonymous, found.file_backed) == (200 * 1024, 150 * 1024, 50 * 1024)
    assert found.most_resident == 300 * 1024


def test_where_there_is_no_proc_it_is_what_psutil_says(tmp_path: Path) -> None:
    found = process_memory(os.getpid(), tmp_path)
    assert found is not None
    assert abs(found.resident - psutil.Process().memory_info().rss) < 5 * MIB


def test_a_process_that_is_gone_holds_nothing_that_is_known() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert process_memory(child.pid) is None
    with MemoryWatch(child.pid) as watch:
        pass
    assert (watch.peak.host_bytes, watch.peak.n_samples) == (None, 0)


def test_a_peak_that_is_over_before_anybody_looks_is_seen() -> None:
    # A model that loads holds its most for a moment; a sampler alone would miss it.
    code = "x = bytearray(60 << 20); del x; print(1, flush=True); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    child.stdout.readline()
    with MemoryWatch(child.pid) as watch:
        pass
    child.communicate("\n")
    assert watch.peak.host_bytes is not None
    assert watch.peak.host_bytes > 60 * MIB


class FakeNvml:
    def __init__(self, *used: tuple[int, int | None]) -> None:
        self.used = used

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    nvmlShutdown = nvmlInit  # noqa: N815

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[SimpleNamespace]:  # noqa: N802
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.used]


def test_a_process_holds_its_own_share_of_all_gpus() -> None:
    assert device_memory([1, 2], lambda: FakeNvml((1, 10), (2, 5), (3, 100))) == 30


def test_a_driver_that_does_not_tell_shares_is_not_zero() -> None:
    # Windows and WSL say None for every process.
    assert device_memory([1], lambda: FakeNvml((1, None))) is None


def test_a_machine_without_a_driver_is_not_zero() -> None:
    def load() -> None:
        raise OSError("no library")

    assert device_memory([1], load) is None
