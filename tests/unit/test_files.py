import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from overnight.errors import StoreError, UsageError
from overnight.store.files import atomic_writer, read_json, require_writable, write_json, write_text


class DiskFullError(OSError):
    pass


def fail(*_: object) -> None:
    raise DiskFullError


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    write_text(path, "old")
    return path


def test_a_file_is_replaced_and_nothing_else_is_left(old: Path) -> None:
    write_text(old, "new\r\nline")
    assert old.read_bytes() == b"new\r\nline"
    assert list(old.parent.glob("*.part")) == list(old.parent.glob(".*")) == []


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "text")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "text"


def test_a_failed_write_leaves_the_old_file_and_no_scratch(old: Path) -> None:
    def write_half(path: Path) -> None:
        with atomic_writer(path) as file:
            file.write("half of the n")
            fail()

    with pytest.raises(DiskFullError):
        write_half(old)
    assert old.read_text() == "old"
    assert [path.name for path in old.parent.iterdir() if path.is_file()] == ["table.csv"]


@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.chmod", "pathlib.Path.replace"])
def test_a_write_that_fails_at_its_end_leaves_the_old_file_and_no_scratch(
    old: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(where, fail)
    with pytest.raises(DiskFullError):
        write_text(old, "new")
    assert old.read_text() == "old"
    assert [path.name for path in old.parent.iterdir() if path.is_file()] == ["table.csv"]


def test_the_bytes_are_on_disk_before_the_name_is(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    replace, fsync = Path.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (events.append("sync"), fsync(handle))[1])
    monkeypatch.setattr(Path, "replace", lambda self, to: (events.append("replace"), replace(self, to))[1])
    write_text(old, "new")
    assert events == ["sync", "replace", "sync"]


def test_others_may_read_what_was_written(old: Path) -> None:
    assert old.stat().st_mode & 0o777 == 0o644


def test_a_lone_surrogate_is_written_as_its_escape(tmp_path: Path) -> None:
    write_text(tmp_path / "t", "a\ud800b")
    assert (tmp_path / "t").read_bytes() == b"a\\ud800b"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_a_number_is_refused_and_leaves_the_old_file(old: Path, number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(old, {"p_value": number})
    assert old.read_text() == "old"


@pytest.mark.parametrize(
    "value", [None, {"a": [1, 0.1, True, None]}, "Łódź 東京 \u2028", "\ud800 and \udfff", "\0\x1f", {}]
)
def test_a_json_file_reads_back(tmp_path: Path, value: Any) -> None:
    write_json(tmp_path / "v.json", value)
    assert read_json(tmp_path / "v.json") == value


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"a": 1}}'])
def test_a_file_that_is_no_json_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"v\.json: not JSON"):
        read_json(tmp_path / "v.json")


def test_a_json_file_that_cannot_be_read_is_named(tmp_path: Path, old: Path) -> None:
    with pytest.raises(StoreError, match=r"gone\.json: no such file"):
        read_json(tmp_path / "gone.json")
    for path in (tmp_path, old / "below a file"):
        with pytest.raises(StoreError, match="cannot be read"):
            read_json(path)


def test_a_folder_with_room_can_be_written_to(tmp_path: Path) -> None:
    require_writable(tmp_path / "new", 1)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(old: Path) -> None:
    for path in (old, old / "below"):
        with pytest.raises(
            UsageError, match=r"cannot be written to .*; choose another folder with --experiments-dir"
        ):
            require_writable(path, 1)


def test_a_disk_without_room_is_refused_with_what_is_free_and_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4_096_000))
    require_writable(tmp_path, 4_096_000)
    with pytest.raises(UsageError, match="4 MB free, this run needs about 5 MB"):
        require_writable(tmp_path, 5_000_000)
