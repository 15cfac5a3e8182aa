import resource
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from overnight.memory.cgroups import cgroup_limits
from overnight.memory.estimate import Place
from overnight.memory.free import free_devices, free_host

GIB = 1 << 30


def group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


def process(tmp_path: Path, *lines: str) -> Path:
    folder = tmp_path / "proc"
    folder.mkdir()
    (folder / "cgroup").write_text("\n".join(lines) + "\n")
    return folder


def test_a_limit_of_version_2_counts_less_what_is_used_without_droppable_pages(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    group(
        root / "job",
        memory__max=4 * GIB,
        memory__current=3 * GIB,
        memory__stat=f"anon 5\ninactive_file {GIB}",
    )
    found = cgroup_limits(process(tmp_path, "0::/job"), root)
    assert [(free, limit) for free, limit, _ in found] == [(2 * GIB, 4 * GIB)]
    assert "job/memory.max (cgroup v2)" in found[0][2]


def test_a_group_without_a_limit_may_stand_in_one_that_has_it(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    group(root / "outer" / "inner", memory__max="max", memory__current=1)
    group(root / "outer", memory__max=GIB, memory__current=0)
    found = cgroup_limits(process(tmp_path, "0::/outer/inner"), root)
    assert [(free, limit) for free, limit, _ in found] == [(GIB, GIB)]


def test_a_container_that_does_not_see_its_own_path_has_its_limit_at_the_root(tmp_path: Path) -> None:
    # Docker with version 1 mounts the container's group there; /proc shows the path of the host.
    root = tmp_path / "cgroup"
    group(
        root / "memory",
        memory__limit_in_bytes=2 * GIB,
        memory__usage_in_bytes=GIB,
        memory__stat=f"cache 7\ntotal_inactive_file {GIB // 2}",
    )
    found = cgroup_limits(process(tmp_path, "9:pids:/x", "4:memory:/docker/abc", "0::/"), root)
    assert [(free, limit) for free, limit, _ in found] == [(GIB + GIB // 2, 2 * GIB)]


def test_the_largest_number_of_version_1_is_no_limit(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    group(root / "memory", memory__limit_in_bytes=9223372036854771712, memory__usage_in_bytes=1)
    assert cgroup_limits(process(tmp_path, "4:memory:/"), root) == []


def test_a_system_without_control_groups_has_no_limits(tmp_path: Path) -> None:
    assert cgroup_limits(tmp_path, tmp_path) == []


def test_the_tightest_limit_is_what_is_free(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    group(root, memory__max=1000, memory__current=400)
    free = free_host(process(tmp_path, "0::/"), root)
    assert (free.free_bytes, free.total_bytes) == (600, 1000)
    assert "cgroup v2" in free.source


def test_without_limits_it_is_what_the_system_has(tmp_path: Path) -> None:
    free = free_host(tmp_path, tmp_path)
    assert free.total_bytes == psutil.virtual_memory().total
    assert free.source == "available to the system (psutil)"


def test_a_limit_of_the_process_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A limit on this very process would outlast the test; that the system's answer is used is the point.
    limits = {resource.RLIMIT_AS: (GIB, resource.RLIM_INFINITY)}
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits.get(which, unlimited))
    free = free_host(tmp_path, tmp_path)
    assert (free.free_bytes, free.total_bytes) == (GIB // 2, GIB)
    assert free.source.startswith("RLIMIT_AS of the process, less 512 MiB")


class FakeNvml:
    """Two devices; the second is divided into two instances where ``mig`` is set."""

    def __init__(self, *, mig: bool = False, broken: str = "") -> None:
        self.mig = mig
        self.broken = broken
        self.is_open = False

    def __getattribute__(self, name: str):
        if name == object.__getattribute__(self, "broken"):
            raise RuntimeError(f"{name} failed")
        return object.__getattribute__(self, name)

    def nvmlInit(self) -> None:  # noqa: N802
        self.is_open = True

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.is_open = False

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        return f"device {index}"

    def nvmlDeviceGetUUID(self, handle: str) -> str:  # noqa: N802
        return {"device 0": "GPU-aa", "device 1": "GPU-bb", "slice 0": "MIG-x", "slice 1": "MIG-y"}[handle]

    def nvmlDeviceGetName(self, handle: str) -> bytes:  # noqa: N802
        return b"H100"

    def nvmlDeviceGetMigMode(self, handle: str) -> tuple[int, int]:  # noqa: N802
        return (1, 1) if self.mig and handle == "device 1" else (0, 0)

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: str) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: str, index: int) -> str:  # noqa: N802
        if index > 1:
            raise RuntimeError("not found")
        return f"slice {index}"

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(free={"device 0": 70, "device 1": 80}.get(handle, 9), total=100, used=1)


@pytest.fixture(autouse=True)
def all_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_gpu_has_what_the_driver_says_and_nvml_is_given_back() -> None:
    # The driver's number, unlike the total less our own, counts what other people's processes hold.
    nvml = FakeNvml()
    found = free_devices(lambda: nvml)
    assert [(one.free_bytes, one.total_bytes, one.place) for one in found] == [
        (70, 100, Place.DEVICE),
        (80, 100, Place.DEVICE),
    ]
    assert not nvml.is_open


def test_a_hidden_gpu_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [one.free_bytes for one in free_devices(FakeNvml)] == [80]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert free_devices(FakeNvml) == ()


def test_a_divided_gpu_is_its_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.free_bytes for one in free_devices(lambda: FakeNvml(mig=True))] == [70, 9, 9]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-y")
    (found,) = free_devices(lambda: FakeNvml(mig=True))
    assert (found.source, found.uuid) == ("NVML, of the MIG instance", "MIG-y")


@pytest.mark.parametrize(
    "broken", ["nvmlInit", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetCount", "nvmlShutdown"]
)
def test_a_driver_that_fails_is_an_absence_with_a_reason(broken: str) -> None:
    found = free_devices(lambda: FakeNvml(broken=broken))
    if broken == "nvmlInit":
        assert found == ()
    elif broken != "nvmlShutdown":
        assert {one.free_bytes for one in found} == {None}
        assert found[0].absent_because == f"{broken} failed"


def test_a_machine_without_the_library_has_no_gpu() -> None:
    def load() -> None:
        raise ImportError("no pynvml")

    assert free_devices(load) == ()
