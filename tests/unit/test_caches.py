"""``overnight cache``: everything that is kept is listed, checked in full, and taken away only where nobody uses it."""

import hashlib
import json
import mmap
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from overnight.cli import main
from overnight.store.content_store import ContentStore
from overnight.store.digest_memo import memoised_digest
from overnight.store.request_cache import RequestCache
from overnight.store.segments import segments

WEIGHTS = b"GGUF" + bytes(1000)
SHA = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def left_with(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def leave(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["cache", *arguments])
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return leave


@pytest.fixture
def filled(own_cache: Path) -> Path:
    """Return a cache folder with one entry of each kind; the answers are those of a process that has ended."""
    ContentStore(own_cache, "items").get_or_build(
        {"seed": 1}, lambda folder: (folder / "a.jsonl").write_text("{}\n")
    )
    model = own_cache / "models" / SHA
    model.mkdir(parents=True)
    (model / "tiny.gguf").write_bytes(WEIGHTS)
    (model / ".lock").touch()
    weights = own_cache.parent / "own.gguf"
    weights.write_bytes(WEIGHTS)
    memoised_digest(weights)
    segment = keep(own_cache)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    segment.rename(segment.with_name(segment.name.replace(f"-{os.getpid()}-", f"-{dead.pid}-")))
    return own_cache


def keep(root: Path, n: int = 3) -> Path:
    kept = RequestCache("a" * 64, {}, run_id="r", root=root)
    kept.keep(
        {
            "custom_id": f"d|{i}|control|0.0|0|closed",
            "request_id": f"{i:032x}",
            "status": "ok",
            "finish_reason": "stop",
            "text": "yes",
        }
        for i in range(n)
    )
    kept.close()
    return next(path for path in segments(kept.folder) if f"-{os.getpid()}-" in path.name)


def by_kind(text: str, key: str) -> dict[str, dict[str, Any]]:
    return {row["kind"]: row for row in json.loads(text)[key]}


def test_ls_counts_every_kind(left_with, filled: Path) -> None:
    code, out, _ = left_with("ls", "--json")
    found = by_kind(out, "kinds")
    assert code == 0
    assert {kind: row["entries"] for kind, row in found.items()} == {
        "digests": 1,
        "items": 1,
        "models": 1,
        "requests": 1,
    }
    assert found["requests"]["answers"] == 3
    assert found["models"]["answers"] is None
    assert found["models"]["bytes"] == len(WEIGHTS)
    code, out, _ = left_with("ls")
    assert code == 0
    assert {"items", "models", "requests"} <= {line.split()[0] for line in out.splitlines() if line.strip()}


def test_an_empty_cache_is_no_error(left_with) -> None:
    assert left_with("ls")[0] == 0
    assert left_with("verify")[0] == 0
    assert left_with("clear", "--all", "--yes")[0] == 0
    assert left_with("clear", "requests", "--yes")[0] == 0
    assert json.loads(left_with("ls", "--json")[1])["kinds"] == []


def test_what_is_whole_is_verified(left_with, filled: Path) -> None:
    code, out, err = left_with("verify")
    assert (code, err) == (0, "")
    assert out.startswith("4 entries")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("kind", "pattern", "damage", "said"),
    [
        ("items", "items/*/*/a.jsonl", flip, "a.jsonl is missing or was changed"),
        ("items", "items/*/*/a.jsonl", Path.unlink, "a.jsonl is missing or was changed"),
        ("items", "items/*/*/entry.json", Path.unlink, "entry.json is missing"),
        ("items", "items/*/*/entry.json", lambda p: p.write_text("{"), "entry.json is missing or is not"),
        (
            "items",
            "items/*/*/entry.json",
            lambda p: p.write_text(p.read_text().replace('"seed": 1', '"seed": 2')),
            "describes something else",
        ),
        ("models", "models/*/tiny.gguf", flip, "tiny.gguf has sha256"),
        ("requests", "requests/*/*.answers", flip, "line 4 is not what was written"),
        ("requests", "requests/*/*.answers", lambda p: p.write_bytes(p.read_bytes()[:-5]), "has no end"),
        ("digests", "digests/*.json", lambda p: p.write_text("[]"), "not a digest"),
        (
            "digests",
            "digests/*.json",
            lambda p: p.write_text(p.read_text().replace(SHA, SHA[::-1])),
            "not a digest",
        ),
    ],
)
def test_damage_is_named_and_ends_with_1(left_with, filled: Path, kind, pattern, damage, said) -> None:
    (path,) = filled.glob(pattern)
    damage(path)
    code, out, err = left_with("verify")
    assert code == 1
    (line,) = out.splitlines()
    assert line.startswith(f"{kind}: ")
    assert said in line
    assert "1 of 4 cache entries are damaged" in err
    code, out, _ = left_with("verify", "--json")
    assert code == 1
    (problem,) = json.loads(out)["problems"]
    assert problem["kind"] == kind
    others = [name for name in ("items", "models", "requests", "digests") if name != kind]
    assert left_with("verify", *others)[0] == 0


def test_a_line_that_is_being_written_is_no_damage(left_with, own_cache: Path) -> None:
    segment = keep(own_cache)  # this process is alive
    segment.write_bytes(segment.read_bytes()[:-5])
    assert left_with("verify")[0] == 0


def test_clear_wants_to_know_what(left_with, filled: Path) -> None:
    before = sorted(filled.rglob("*"))
    for arguments in (["--yes"], ["--all", "items", "--yes"], ["itmes", "--yes"]):
        code, _, err = left_with("clear", *arguments)
        assert code == 2
        assert err.count("\n") == 1
    assert sorted(filled.rglob("*")) == before


def test_clear_takes_the_named_kinds_and_says_what_was_freed(left_with, filled: Path) -> None:
    code, out, _ = left_with("clear", "requests", "models", "--yes", "--json")
    assert code == 0
    cleared = by_kind(out, "cleared")
    assert {kind: (row["entries"], row["in_use"]) for kind, row in cleared.items()} == {
        "models": (1, 0),
        "requests": (1, 0),
    }
    assert cleared["models"]["bytes"] == len(WEIGHTS)
    assert {row["kind"] for row in json.loads(left_with("ls", "--json")[1])["kinds"]} == {"items", "digests"}


def test_clear_all_leaves_nothing(left_with, filled: Path) -> None:
    assert left_with("clear", "--all", "--yes")[0] == 0
    assert [path for path in filled.rglob("*") if path.is_file() and not path.name.endswith(".lock")] == []
    # And the store goes on as if nothing had been there.
    entry = ContentStore(filled, "items").get_or_build(
        {"seed": 1}, lambda folder: (folder / "a.jsonl").write_text("")
    )
    assert not entry.was_cached


def test_clear_by_age_leaves_what_is_younger(left_with, filled: Path) -> None:
    (segment,) = filled.glob("requests/*/*.answers")
    ten_days_ago = segment.stat().st_mtime - 10 * 86_400
    os.utime(segment, (ten_days_ago, ten_days_ago))
    code, out, _ = left_with("clear", "--older-than", "9.5", "--yes", "--json")
    assert code == 0
    assert set(by_kind(out, "cleared")) == {"requests"}
    assert left_with("clear", "--older_than_days", "11", "--yes")[1] == "nothing to clear\n"


def test_clear_asks_before_it_takes_anything(
    left_with, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    code, _, err = left_with("clear", "--all")
    assert code == 130
    assert "take 4 entries" in err
    assert left_with("verify")[1].startswith("4 entries")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert left_with("clear", "--all")[0] == 0
    assert json.loads(left_with("ls", "--json")[1])["kinds"] == []


HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("kind", ["items", "models"])
def test_an_entry_that_another_process_makes_is_left_alone(left_with, filled: Path, kind: str) -> None:
    (entry,) = filled.glob("items/*/*/") if kind == "items" else filled.glob("models/*/")
    lock = entry.parent / f".{entry.name}.lock" if kind == "items" else entry / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        code, out, _ = left_with("clear", "--all", "--yes", "--json")
        assert code == 0
        assert {name: row["in_use"] for name, row in by_kind(out, "cleared").items()}[kind] == 1
        assert any(path.is_file() and path.name[0] != "." for path in entry.iterdir())
    finally:
        holder.communicate("leave\n", timeout=30)
    assert "1 entries" in left_with("clear", kind, "--yes")[1]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="maps of processes cannot be seen here")
def test_weights_that_a_process_has_mapped_are_left_alone(left_with, filled: Path) -> None:
    (weights,) = filled.glob("models/*/tiny.gguf")
    with weights.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
        assert "1 in use" in left_with("clear", "models", "--yes")[1]
    assert weights.exists()
    left_with("clear", "models", "--yes")
    assert not weights.exists()


def test_answers_whose_writer_is_alive_are_left_alone(left_with, filled: Path) -> None:
    alive = keep(filled)
    assert "1 in use" in left_with("clear", "requests", "--yes")[1]
    assert segments(alive.parent) == [alive]


def test_what_killed_downloads_have_left_is_cleared_as_well(left_with, own_cache: Path) -> None:
    half = own_cache / "models" / SHA / ".download-x" / "half.whl"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"x" * 100)
    assert left_with("verify")[0] == 0
    assert left_with("clear", "models", "--yes")[1] == "models: 1 entries, 100 B freed\n"


def test_foreign_files_are_neither_listed_nor_taken_away(left_with, own_cache: Path) -> None:
    mine = own_cache / "requests" / ("a" * 64) / "notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    (own_cache / "README").write_text("mine too")
    assert json.loads(left_with("ls", "--json")[1])["kinds"] == []
    left_with("clear", "--all", "--yes")
    assert mine.read_text() == "mine"


def test_a_cache_folder_that_is_a_file_is_a_wrong_usage(
    left_with, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("OVERNIGHT_CACHE_DIR", str(tmp_path / "file"))
    code, _, err = left_with("ls")
    assert code == 2
    assert "OVERNIGHT_CACHE_DIR" in err
