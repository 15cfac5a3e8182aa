import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from overnight.errors import StoreError, UsageError
from overnight.store.content_store import ContentStore, cache_folder

IDENTITY = {"version": 1, "seed": 7}


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store", "items")


@pytest.fixture
def calls() -> list[Path]:
    return []


@pytest.fixture
def build(calls: list[Path]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        calls.append(folder)
        (folder / "deep").mkdir()
        (folder / "deep" / "a.txt").write_text("a")
        (folder / "b.txt").write_text("b")

    return write


def test_an_entry_is_built_once(
    store: ContentStore, build: Callable[[Path], None], calls: list[Path]
) -> None:
    first, second = (
        store.get_or_build(IDENTITY, build),
        store.get_or_build(dict(reversed(IDENTITY.items())), build),
    )
    assert (first.was_cached, second.was_cached, len(calls)) == (False, True, 1)
    assert first.path == second.path
    assert (second.path / "deep" / "a.txt").read_text() == "a"


def test_another_identity_or_kind_is_another_entry(
    store: ContentStore, build: Callable[[Path], None]
) -> None:
    paths = {
        store.get_or_build(IDENTITY, build).path,
        store.get_or_build(IDENTITY | {"seed": 8}, build).path,
        ContentStore(store.root, "vectors").get_or_build(IDENTITY, build).path,
    }
    assert len(paths) == 3


def test_a_build_starts_with_an_empty_folder(store: ContentStore, build: Callable[[Path], None]) -> None:
    entry = store.get_or_build(IDENTITY, build)
    (entry.path / "b.txt").unlink()
    found: list[Path] = []
    store.get_or_build(IDENTITY, lambda folder: found.extend(folder.iterdir()))
    assert found == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / "b.txt").write_text("c"),
        lambda path: (path / "b.txt").write_text("longer"),
        lambda path: (path / "b.txt").unlink(),
        lambda path: (path / "deep" / "a.txt").unlink(),
        lambda path: (path / "entry.json").unlink(),
        lambda path: (path / "entry.json").write_text(""),
        lambda path: (path / "entry.json").write_text("[]"),
        lambda path: (path / "entry.json").write_text("{}"),
        lambda path: (path / "entry.json").write_text('{"files": []}'),
        lambda path: (path / "entry.json").write_text('{"files": {"b.txt": {}}}'),
        lambda path: (path / "entry.json").write_text('{"files": {"b.txt": 3}}'),
    ],
    ids=[
        "same size",
        "size",
        "gone",
        "deep",
        "no entry",
        "empty",
        "list",
        "no files",
        "files",
        "no digest",
        "number",
    ],
)
def test_an_entry_that_was_changed_is_built_again(
    store: ContentStore, build: Callable[[Path], None], calls: list[Path], damage: Callable[[Path], object]
) -> None:
    damage(store.get_or_build(IDENTITY, build).path)
    entry = store.get_or_build(IDENTITY, build)
    assert (entry.was_cached, len(calls)) == (False, 2)
    assert (entry.path / "b.txt").read_text() == "b"
    assert store.get_or_build(IDENTITY, build).was_cached


def test_a_build_that_fails_leaves_nothing_and_says_why(
    store: ContentStore, build: Callable[[Path], None]
) -> None:
    def fail(folder: Path) -> None:
        build(folder)
        raise StoreError("the disk is full")

    with pytest.raises(StoreError, match="the disk is full"):
        store.get_or_build(IDENTITY, fail)
    assert [path for path in store.root.rglob("*") if path.suffix != ".lock" and path.is_file()] == []
    assert not store.get_or_build(IDENTITY, build).was_cached


def test_a_failed_rebuild_does_not_bring_back_the_damaged_entry(
    store: ContentStore, build: Callable[[Path], None]
) -> None:
    entry = store.get_or_build(IDENTITY, build)
    (entry.path / "b.txt").write_text("changed")
    with pytest.raises(ZeroDivisionError):
        store.get_or_build(IDENTITY, lambda _: 1 / 0)
    assert not entry.path.exists()


def test_what_a_killed_builder_has_left_is_taken_away_by_the_next(
    store: ContentStore, build: Callable[[Path], None]
) -> None:
    # It may be a lens of gigabytes, and no listing of the cache shows it.
    def die(folder: Path) -> None:
        build(folder)
        os._exit(9)

    child = os.fork()
    if child == 0:
        store.get_or_build(IDENTITY, die)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    entry = store.get_or_build(IDENTITY, build)
    assert {path.name for path in entry.path.parent.iterdir()} == {entry.key, f".{entry.key}.lock"}


BUILDER = """
import sys, time
from pathlib import Path
from overnight.store.content_store import ContentStore

def build(folder):
    with open(sys.argv[2], "a") as log:
        log.write("built\\n")
    time.sleep(0.3)
    (folder / "a.txt").write_text("a")

entry = ContentStore(Path(sys.argv[1]), "items").get_or_build({"seed": 7}, build)
print((entry.path / "a.txt").read_text())
"""


def test_of_two_processes_one_builds_and_both_have_the_entry(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILDER, str(tmp_path / "store"), str(tmp_path / "log")]
    builders = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [builder.communicate(timeout=60)[0] for builder in builders] == ["a\n", "a\n"]
    assert (tmp_path / "log").read_text() == "built\n"


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("OVERNIGHT_CACHE_DIR", "~/caches")
    assert cache_folder() == Path("/home/ada/caches")
    monkeypatch.delenv("OVERNIGHT_CACHE_DIR")
    assert "overnight" in cache_folder().parts


def test_a_cache_folder_that_cannot_be_made_is_named(tmp_path: Path, build: Callable[[Path], None]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UsageError, match=r"file/items/.*: cannot be made .*; name another .* OVERNIGHT_CACHE_DIR"
    ):
        ContentStore(tmp_path / "file", "items").get_or_build(IDENTITY, build)


def test_an_entry_of_a_cache_that_cannot_be_written_to_is_used(
    store: ContentStore, build: Callable[[Path], None], calls: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Permissions do not bind root, on whom CI runs; a read-only file system answers the same question the same way.
    made = store.get_or_build(IDENTITY, build)
    before = sorted(store.root.rglob("*"))
    monkeypatch.setattr("overnight.store.content_store.os.access", lambda *_: False)
    assert store.get_or_build(IDENTITY, build).path == made.path
    assert len(calls) == 1
    assert sorted(store.root.rglob("*")) == before
    with pytest.raises(UsageError, match="cannot be written to; name another cache folder"):
        store.get_or_build({**IDENTITY, "seed": 8}, build)
