"""What a night may lack: room, files, permission, a clock that goes on, a cache that keeps what was put there."""

import random
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from overnight.vectors.key import KEY_FILE
from tests.chaos.conftest import Forks, Outcome, Undisturbed, watched
from tests.chaos.sweeps import KINDS

slow = pytest.mark.slow
ONE_KIND_UNLESS_SLOW = pytest.mark.parametrize(
    "undisturbed", [KINDS[0], *(pytest.param(kind, marks=slow) for kind in KINDS[1:])], indirect=True
)
ONE_KIND = pytest.mark.parametrize("undisturbed", ["prompt-sweep"], indirect=True)
_ESTIMATES = "rates"  # how fast things went: no result depends on it, and nothing checks it
Mount = Callable[..., Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Return what mounts a file system in memory on a folder, or skips the test."""
    mounted: list[Path] = []

    def call(name: str, options: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        is_new = folder not in mounted
        command = [
            "mount",
            *(["-t", "tmpfs"] if is_new else []),
            "-o",
            options,
            *(["tmpfs"] if is_new else []),
            folder,
        ]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"nothing can be mounted here: {error}")
        if is_new:
            mounted.append(folder)
        return folder

    yield call
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _flip(path: Path, draw: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def test_flipped_bits_in_whatever_is_cached_are_found_and_change_no_table(
    forks: Forks, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    draw = random.Random(undisturbed.kind)
    shutil.copytree(undisturbed.folder / "cache", tmp_path / "cache")
    files = [
        path
        for path in sorted((tmp_path / "cache").rglob("*"))
        if path.is_file()
        and path.stat().st_size
        and not path.name.endswith(".lock")
        # What a folder of states says that it is of is refused where it is not what its name says, not made anew.
        and path.name != KEY_FILE
    ]
    for path in files:
        _flip(path, draw)
    verified = forks(tmp_path, "cache", "verify")
    assert verified.code == 1
    kinds = {path.relative_to(tmp_path / "cache").parts[0] for path in files} - {_ESTIMATES}
    assert {line.split(":")[0] for line in verified.said.splitlines() if ": " in line} >= kinds
    outcome = forks.begin_or_go_on(tmp_path, undisturbed.kind)
    assert outcome.code == 0, outcome.said
    assert undisturbed.differences(tmp_path) == []


@ONE_KIND_UNLESS_SLOW
def test_two_runs_on_one_cache_at_once_are_as_if_each_were_alone(
    forks: Forks, other_forks: Forks, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    found: dict[str, Outcome] = {}

    def run(name: str, which: Forks) -> None:
        found[name] = which.begin_or_go_on(tmp_path / name, undisturbed.kind, cache=tmp_path / "cache")

    both = [threading.Thread(target=run, args=each) for each in (("one", forks), ("other", other_forks))]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    for name, outcome in found.items():
        assert outcome.code == 0, outcome.said
        assert undisturbed.differences(tmp_path / name) == []
    assert forks(tmp_path / "one", "cache", "verify", cache=tmp_path / "cache").code == 0


@ONE_KIND
def test_a_clock_that_jumps_by_hours_and_back_changes_no_table(
    forks: Forks, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    outcome = forks.begin_or_go_on(tmp_path, undisturbed.kind, watched(tmp_path, clock_jumps_s=5 * 3600.0))
    assert outcome.code == 0, outcome.said
    assert undisturbed.differences(tmp_path) == []


@ONE_KIND
@pytest.mark.parametrize("n_files", [pytest.param(8, marks=slow), 14, pytest.param(20, marks=slow)])
def test_too_few_files_are_said_in_a_line_and_cost_nothing_once_there_are_more(
    forks: Forks, undisturbed: Undisturbed, tmp_path: Path, n_files: int
) -> None:
    outcome = forks.begin_or_go_on(tmp_path, undisturbed.kind, watched(tmp_path, n_files=n_files))
    assert outcome.code in (0, 1, 2)
    assert "Traceback" not in outcome.said
    outcome = forks.begin_or_go_on(tmp_path, undisturbed.kind)
    assert outcome.code == 0, outcome.said
    assert undisturbed.differences(tmp_path) == []


@ONE_KIND
@pytest.mark.parametrize("size", [pytest.param("8k", marks=slow), "64k", pytest.param("160k", marks=slow)])
def test_a_disk_that_is_too_small_is_said_in_a_line_and_a_larger_one_gone_on_with(
    forks: Forks, undisturbed: Undisturbed, tmp_path: Path, mount: Mount, size: str
) -> None:
    # Before the run, in its journals, in its reports.
    mount("work/experiments", f"size={size}")
    outcome = forks.begin_or_go_on(tmp_path / "work", undisturbed.kind)
    assert outcome.code in (1, 2)
    assert "Traceback" not in outcome.said
    assert "No space left" in outcome.said or "MB free" in outcome.said
    mount("work/experiments", "remount,size=64m")
    outcome = forks.begin_or_go_on(tmp_path / "work", undisturbed.kind)
    assert outcome.code == 0, outcome.said
    assert undisturbed.differences(tmp_path / "work") == []


@ONE_KIND
def test_a_cache_that_cannot_be_written_to_is_read_and_an_empty_one_is_named(
    forks: Forks, undisturbed: Undisturbed, tmp_path: Path, mount: Mount
) -> None:
    cache = mount("cache", "size=16m")
    mount("cache", "remount,ro")
    outcome = forks.begin_or_go_on(tmp_path / "empty", undisturbed.kind, cache=cache)
    assert outcome.code == 2
    assert "OVERNIGHT_CACHE_DIR" in outcome.said
    mount("cache", "remount,rw")
    shutil.copytree(undisturbed.folder / "cache", cache, dirs_exist_ok=True)
    mount("cache", "remount,ro")
    outcome = forks.begin_or_go_on(tmp_path / "full", undisturbed.kind, cache=cache)
    assert outcome.code == 0, outcome.said
    assert undisturbed.differences(tmp_path / "full") == []


@ONE_KIND
def test_experiments_that_cannot_be_written_to_are_named(
    forks: Forks, undisturbed: Undisturbed, tmp_path: Path, mount: Mount
) -> None:
    mount("work/experiments", "size=1m,ro")
    outcome = forks.begin_or_go_on(tmp_path / "work", undisturbed.kind)
    assert outcome.code == 2
    assert "experiments: cannot be written to (Read-only file system)" in outcome.said
    assert "Traceback" not in outcome.said
