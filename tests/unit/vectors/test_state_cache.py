"""``overnight cache`` lists, checks and clears states and directions as it does everything else."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from overnight.cli import main
from overnight.ids import text_digest
from overnight.store.cache_checking import verify
from overnight.store.cache_listing import cache_entries
from overnight.vectors.key import StateKey
from overnight.vectors.states import StateStore

KEY = StateKey(
    model_digest="a" * 64,
    held="float32",
    points=("0.residual_out", "1.residual_out"),
    positions="mean",
    rendering="plain",
)


@pytest.fixture
def left_with(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def leave(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            main(["cache", *arguments])
        return int(left.value.code or 0), capsys.readouterr().out

    return leave


@pytest.fixture
def folder(own_cache: Path) -> Path:
    store = StateStore(KEY, own_cache)
    for first in (0, 3):
        rows = np.random.default_rng(first).standard_normal((3, 2, 8)).astype(np.float32)
        store.append([text_digest(str(first + row)) for row in range(3)], rows)
    return store.folder


def end_writer(folder: Path) -> None:
    """Rename what was written as if by a process that has ended."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for path in folder.glob("*.jsonl"):
        path.rename(path.with_name(path.name.replace(f"-{os.getpid()}-", f"-{dead.pid}-")))


def test_a_folder_of_states_is_one_entry_and_is_whole(left_with, folder: Path) -> None:
    code, out = left_with("ls", "--json")
    (row,) = json.loads(out)["kinds"]
    assert (code, row["kind"], row["entries"]) == (0, "states", 1)
    assert row["bytes"] > 6 * 2 * 8 * 4
    assert left_with("verify", "states")[0] == 0


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("pattern", "damage", "said"),
    [
        ("*-000001.safetensors", flip, "not what was written"),
        ("*-000001.safetensors", Path.unlink, "missing"),
        ("*.jsonl", lambda path: path.write_bytes(path.read_bytes()[:-9]), "has no end"),
        (
            "*.jsonl",
            lambda path: path.write_bytes(path.read_bytes().replace(b'"bytes"', b'"bites"', 1)),
            "line 1",
        ),
        ("key.yaml", lambda path: path.write_text(path.read_text().replace("mean", "last")), "other states"),
        ("key.yaml", lambda path: path.write_text("- 1"), "cannot be read"),
        ("key.yaml", Path.unlink, "missing"),
    ],
)
def test_damage_is_named_and_ends_with_1(left_with, folder: Path, pattern: str, damage, said: str) -> None:
    end_writer(folder)
    (path,) = folder.glob(pattern)
    damage(path)
    code, out = left_with("verify", "states", "--json")
    problems = json.loads(out)["problems"]
    assert code == 1
    assert said in problems[0]["found"]
    assert "\n" not in problems[0]["found"]


def test_a_shard_that_its_writer_did_not_finish_is_named_once_nobody_writes(
    folder: Path, own_cache: Path
) -> None:
    (index,) = folder.glob("*.jsonl")
    index.write_bytes(index.read_bytes().splitlines(keepends=True)[0])
    (entry,) = cache_entries(own_cache, ["states"])
    assert verify(entry) == []
    end_writer(folder)
    (problem,) = verify(entry)
    assert "stands in no index" in problem.found


def test_states_are_cleared_unless_somebody_writes_them(left_with, folder: Path) -> None:
    code, out = left_with("clear", "states", "--yes", "--json")
    assert (code, json.loads(out)["cleared"]) == (
        0,
        [{"kind": "states", "entries": 0, "bytes": 0, "in_use": 1}],
    )
    assert folder.exists()
    end_writer(folder)
    assert left_with("clear", "states", "--yes")[0] == 0
    assert not folder.exists()


def test_a_store_that_was_cleared_under_its_writer_goes_on(own_cache: Path, folder: Path) -> None:
    store = StateStore(KEY, own_cache)
    end_writer(folder)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    rows = np.ones((1, 2, 8), dtype=np.float32)
    store.append([text_digest("again")], rows)
    assert np.array_equal(StateStore(KEY, own_cache).read([text_digest("again")]), rows)
    assert store.missing([text_digest("0")]) == [text_digest("0")]
