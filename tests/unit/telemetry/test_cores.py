"""Threads that are worth starting, on machines of other shapes."""

from pathlib import Path

import pytest

from overnight.telemetry import cores
from overnight.telemetry.cgroups import Limits
from overnight.telemetry.cores import Cores, physical_cores, physical_of


@pytest.fixture
def four_with_two_threads(tmp_path: Path) -> Path:
    """Return what the kernel says of four cores with two hyper-threads each: 0 and 4 are one, and so on."""
    for number in range(8):
        folder = tmp_path / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{number % 4},{number % 4 + 4}\n", encoding="ascii")
    return tmp_path


def test_two_threads_of_one_core_are_one_core(four_with_two_threads: Path) -> None:
    # Documentation/admin-guide/cputopology.rst of the kernel.
    assert physical_of({0, 1, 2, 3}, four_with_two_threads) == 4
    assert physical_of({0, 4}, four_with_two_threads) == 1
    assert physical_of({0, 4, 1}, four_with_two_threads) == 2
    assert physical_of({0, 99}, four_with_two_threads) is None


@pytest.mark.parametrize(
    ("found", "usable", "logical"),
    [
        (Cores(8, 16, 16, None, 8), 8, 16),
        (Cores(8, 16, 4, None, 2), 2, 4),  # bound to two cores with both of their threads
        (Cores(8, 16, 16, 2.5, 8), 2, 2),  # docker run --cpus 2.5
        (Cores(8, 16, 16, 0.5, 8), 1, 1),
        (Cores(None, 4, None, None), 4, 4),  # a system that says little
        (Cores(8, 16, 4, None), 4, 4),  # bound, and no word of which threads share a core
    ],
)
def test_affinity_and_the_containers_share_bound_the_threads(found: Cores, usable: int, logical: int) -> None:
    assert (found.usable, found.usable_logical) == (usable, logical)


def test_the_default_follows_what_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "read_limits", lambda: Limits(cpus=1.0))
    assert physical_cores() == 1
    monkeypatch.setattr(cores, "read_limits", Limits)
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert physical_cores() == 1
