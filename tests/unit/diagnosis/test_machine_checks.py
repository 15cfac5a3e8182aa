from pathlib import Path

import pytest

from overnight.diagnosis.machine.check import Status
from overnight.diagnosis.machine.children import ask_child, judge_llama_cpp, judge_torch
from overnight.diagnosis.machine.disks import Disk, judge_disk, read_disk
from overnight.diagnosis.machine.memory import Memory, judge_memory
from overnight.diagnosis.machine.system import judge_cpu, judge_python, judge_threads, judge_tracking
from overnight.telemetry.cgroups import Limits, read_limits
from overnight.telemetry.cores import Cores

GIB = 2**30
EIGHT = Cores(physical=8, logical=16, allowed=16, cgroup=None)


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ((3, 10, 14), Status.PROBLEM),
        ((3, 11, 0), Status.OK),
        ((3, 13, 9), Status.OK),
        ((3, 14, 0), Status.NOTE),
    ],
)
def test_python_is_judged_by_what_the_package_declares(version: tuple[int, int, int], status: Status) -> None:
    assert judge_python(version, "Linux", "0.1.0").status is status


def test_a_container_that_may_use_half_a_machine_gets_half_the_threads() -> None:
    # The affinity of a container is that of the host; only its quota of time is smaller, and nothing else says so.
    check = judge_cpu(EIGHT._replace(cgroup=4.0), "a cpu")
    assert check.status is Status.NOTE
    assert check.remedy is not None
    assert "execution.engine.threads: 4" in check.remedy
    assert judge_cpu(EIGHT, "a cpu").status is Status.OK


@pytest.mark.parametrize(
    ("environment", "status"),
    [
        ({}, Status.OK),
        ({"OMP_NUM_THREADS": "8"}, Status.OK),
        ({"OMP_NUM_THREADS": "9"}, Status.NOTE),
        ({"OMP_NUM_THREADS": "4,2"}, Status.OK),  # OpenMP takes one number a level of nesting
        ({"MKL_NUM_THREADS": "all"}, Status.PROBLEM),
        ({"NUMEXPR_MAX_THREADS": "0"}, Status.PROBLEM),
    ],
)
def test_thread_variables_are_compared_with_the_cores(environment: dict[str, str], status: Status) -> None:
    assert judge_threads(environment, EIGHT).status is status


@pytest.mark.parametrize(
    ("available", "limit", "used", "status"),
    [
        (8 * GIB, None, None, Status.OK),
        (3 * GIB, None, None, Status.NOTE),
        (GIB // 2, None, None, Status.PROBLEM),
        (8 * GIB, 6 * GIB, 4 * GIB, Status.NOTE),  # the machine has room, the container has 2 GiB left
        (8 * GIB, 6 * GIB, 6 * GIB, Status.PROBLEM),
    ],
)
def test_memory_is_what_the_machine_and_its_container_both_leave(
    available: int, limit: int | None, used: int | None, status: Status
) -> None:
    assert judge_memory(Memory(16 * GIB, available, 0, 0, limit, used)).status is status


def test_swap_that_is_in_use_is_worth_a_word() -> None:
    assert judge_memory(Memory(16 * GIB, 8 * GIB, 4 * GIB, 3 * GIB)).status is Status.NOTE


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, Status.OK),
        ({"free": 5 * GIB}, Status.NOTE),
        ({"free": GIB // 2}, Status.PROBLEM),
        ({"is_writable": False}, Status.PROBLEM),
        ({"system": "nfs4"}, Status.NOTE),
        ({"system": "fuse.sshfs"}, Status.NOTE),
        ({"system": None}, Status.OK),
    ],
)
def test_disks_are_judged_by_room_and_by_whether_locks_hold(
    changes: dict[str, object], status: Status
) -> None:
    disk = Disk(Path("/d"), 100 * GIB, 50 * GIB, "ext4", is_writable=True)._replace(**changes)
    assert judge_disk("disk", Path("/d/experiments"), disk, "--experiments-dir").status is status


def test_a_folder_that_is_not_there_yet_has_the_disk_of_its_parent(tmp_path: Path) -> None:
    disk = read_disk(tmp_path / "a" / "b")
    assert disk.folder == tmp_path
    assert disk.is_writable
    assert 0 < disk.free <= disk.total


def group(root: Path, own: Path, line: str, files: dict[str, str]) -> Limits:
    own.write_text(line + "\n", encoding="ascii")
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="ascii")
    return read_limits(root, own)


def test_the_tightest_limit_of_a_group_and_those_above_it_counts(tmp_path: Path) -> None:
    # Version 2: a group can use no more than its parents may; "max" is no limit.
    files = {
        "a/memory.max": "8000",
        "a/memory.current": "5000",
        "a/b/memory.max": "max",
        "a/b/cpu.max": "150000 100000",
        "a/cpu.max": "max 100000",
    }
    assert group(tmp_path / "fs", tmp_path / "own", "0::/a/b", files) == Limits(8000, 5000, 1.5)


def test_limits_of_the_first_version_are_read_and_its_number_for_none_is_none(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("3:memory:/x\n5:cpu,cpuacct:/x\n", encoding="ascii")
    files = {
        "memory/x/memory.limit_in_bytes": "9223372036854771712",
        "cpu,cpuacct/x/cpu.cfs_quota_us": "50000",
        "cpu,cpuacct/x/cpu.cfs_period_us": "100000",
    }
    line = "3:memory:/x\n5:cpu,cpuacct:/x"
    assert group(tmp_path / "fs", tmp_path / "own", line, files) == Limits(None, None, 0.5)


def test_a_system_without_groups_has_no_limits(tmp_path: Path) -> None:
    assert read_limits(tmp_path, tmp_path / "nothing") == Limits()


TORCH = {"version": "2.13.0", "built_for_cuda": None, "cuda": False, "mps": False, "threads": 8}


def test_a_torch_that_does_not_see_the_gpu_is_worth_a_word_only_where_there_is_one() -> None:
    assert judge_torch(TORCH, has_gpu=False).status is Status.OK
    assert judge_torch(TORCH, has_gpu=True).status is Status.NOTE
    assert judge_torch(TORCH | {"cuda": True}, has_gpu=True).status is Status.OK


def test_a_library_that_cannot_be_loaded_is_a_problem_and_a_slow_one_is_not() -> None:
    assert judge_torch("ImportError: libfoo.so", has_gpu=False).status is Status.PROBLEM
    assert judge_torch("did not answer within 7 s", has_gpu=False).status is Status.NOTE
    assert judge_llama_cpp("ImportError: libfoo.so", has_gpu=False).status is Status.PROBLEM


def test_a_llama_cpp_without_the_gpu_would_run_on_the_processor() -> None:
    cpu = {"name": "CPU", "what": "a cpu", "memory_bytes": 1, "type": "DEVICE_TYPE_CPU"}
    gpu = {"name": "CUDA0", "what": "a gpu", "memory_bytes": 1, "type": "DEVICE_TYPE_GPU"}
    assert judge_llama_cpp({"version": "1", "devices": [cpu]}, has_gpu=True).status is Status.NOTE
    assert judge_llama_cpp({"version": "1", "devices": [cpu, gpu]}, has_gpu=True).status is Status.OK


def test_a_child_is_asked_for_json_and_says_why_there_is_none() -> None:
    # What a library prints around its answer is passed over; what a traceback ends on is the reason.
    assert ask_child("print('hello'); print('{\"a\": 1}')") == {"a": 1}
    assert ask_child("raise ImportError('no such thing')") == "ImportError: no such thing"
    assert ask_child("import time; time.sleep(60)", limit_s=0.2) == "did not answer within 0.2 s"


def test_no_key_is_ever_shown() -> None:
    check = judge_tracking({"WANDB_API_KEY": "s3cret"}, "0.20")
    assert "s3cret" not in str(check.as_row())
    assert "a key is set" in check.what
    assert "offline" in judge_tracking({}, "0.20").what
    assert "nothing is sent" in judge_tracking({"WANDB_MODE": "offline", "WANDB_API_KEY": "s"}, "0.20").what
