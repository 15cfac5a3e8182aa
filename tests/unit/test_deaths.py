import time
from pathlib import Path
from signal import SIGKILL, SIGSEGV

import pytest

from overnight.engines.deaths import MemoryWatch, memory_complaint


@pytest.fixture
def vmstat(tmp_path: Path) -> Path:
    path = tmp_path / "vmstat"
    path.write_text("nr_free_pages 1\noom_kill 4\n")
    return path


@pytest.mark.parametrize(
    "said",
    [
        "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 754974720",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "memory allocation of 1792 bytes failed",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "ggml_backend_cuda_alloc_buffer: allocating 40.00 MiB on device 0: cudaMalloc failed: out of memory",
    ],
)
def test_what_the_libraries_print_when_an_allocation_fails_is_understood(said: str, vmstat: Path) -> None:
    # Lines as llama.cpp, libstdc++, torch on the processor, torch on a GPU and ggml-cuda print them.
    text = f"loading\n{said}\nat line 3\n"
    assert memory_complaint(text) == said
    assert MemoryWatch(vmstat).why_out_of_memory(1, text) == f"it said {said!r}"


def test_a_kill_by_the_kernel_is_known_by_its_count(vmstat: Path) -> None:
    watch = MemoryWatch(vmstat)
    assert watch.why_out_of_memory(-SIGKILL, "serving\n") is None  # somebody's kill
    halved = "a batch of 8 rows does not fit (can't allocate memory); halved"
    assert watch.why_out_of_memory(-SIGKILL, halved) is None  # said, survived, and then killed by somebody
    vmstat.write_text("oom_kill 5\n")
    assert watch.why_out_of_memory(-SIGKILL, "serving\n") == "the kernel killed it for want of memory"


def test_a_kill_by_the_kernel_of_long_ago_was_somebody_elses(
    vmstat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The kernel counts for the whole machine: what it killed at one o'clock says nothing of a kill at three.
    monkeypatch.setattr("overnight.engines.deaths._LOOK_S", 0.001)
    watch = MemoryWatch(vmstat)
    vmstat.write_text("oom_kill 5\n")
    watch.start()
    deadline = time.monotonic() + 10
    while watch.why_out_of_memory(-SIGKILL, "") and time.monotonic() < deadline:
        time.sleep(0.001)
    watch.stop()
    assert watch.why_out_of_memory(-SIGKILL, "") is None


def test_another_death_is_no_want_of_memory_though_the_kernel_killed_somebody(vmstat: Path) -> None:
    watch = MemoryWatch(vmstat)
    vmstat.write_text("oom_kill 5\n")
    assert watch.why_out_of_memory(-SIGSEGV, "") is None
    assert watch.why_out_of_memory(1, "model file is broken") is None


def test_a_system_that_does_not_count_says_nothing(tmp_path: Path) -> None:
    assert MemoryWatch(tmp_path / "nothing").why_out_of_memory(-SIGKILL, "") is None


def test_a_kill_while_next_to_nothing_was_free_is_taken_for_the_systems(
    vmstat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # macOS kills for want of memory and counts it nowhere.
    class Memory:
        available, total = 1, 100

    monkeypatch.setattr("psutil.virtual_memory", Memory)
    monkeypatch.setattr("overnight.engines.deaths._LOOK_S", 0.01)
    watch = MemoryWatch(vmstat)
    watch.start()
    while not watch._free_shares:
        pass
    watch.stop()
    assert watch.why_out_of_memory(-SIGKILL, "") == "it was killed while 1.0% of the memory was free"
