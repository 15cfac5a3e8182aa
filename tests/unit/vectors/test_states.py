"""The store of states gives back what it was given, by the text, and says what it cannot give."""

import dataclasses
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from overnight.errors import StoreError, UsageError
from overnight.ids import text_digest
from overnight.vectors.floats import Kept, narrow, widen
from overnight.vectors.key import StateKey
from overnight.vectors.state_index import append_line, read_index, short_id
from overnight.vectors.states import Mode, StateStore

POINTS = ("0.residual_out", "1.residual_mid", "1.residual_out")
D = 16


def key(**change) -> StateKey:
    plain = {
        "model_digest": "a" * 64,
        "held": "float32",
        "points": POINTS,
        "positions": "mean",
        "rendering": "plain",
    }
    return StateKey(**(plain | change))


def ids(*numbers: int) -> list[str]:
    return [text_digest(f"text {number}") for number in numbers]


def states(*numbers: int) -> np.ndarray:
    return np.stack([np.random.default_rng(n).standard_normal((len(POINTS), D)) for n in numbers]).astype(
        np.float32
    )


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    store = StateStore(key(), tmp_path)
    store.append(ids(0, 1, 2, 3), states(0, 1, 2, 3))
    store.append(ids(4, 5), states(4, 5))
    return tmp_path


def test_rows_come_back_by_their_text_in_any_order(filled: Path) -> None:
    store = StateStore(key(), filled)
    assert len(store) == 6
    assert store.missing(ids(5, 9, 0, 8, 9)) == ids(9, 8)
    assert np.array_equal(store.read(ids(5, 0, 3)), states(5, 0, 3))
    assert np.array_equal(store.read(ids(2, 2)), states(2, 2))
    assert store.read([]).shape == (0, 3, D)


def test_points_are_chosen_and_ordered_as_asked(filled: Path) -> None:
    found = StateStore(key(), filled).read(ids(4, 1), [POINTS[2], POINTS[0]])
    assert np.array_equal(found, states(4, 1)[:, [2, 0]])
    with pytest.raises(UsageError, match=r"no states of 7\.residual_out; there are 0\.residual_out"):
        StateStore(key(), filled).read(ids(4), ["7.residual_out"])


@pytest.mark.parametrize("kept", list(Kept))
def test_every_kind_of_number_comes_back_as_it_was_kept(tmp_path: Path, kept: Kept) -> None:
    store = StateStore(key(kept=kept), tmp_path)
    given = states(0, 1)
    store.append(ids(0, 1), given)
    store.append(ids(2), narrow(states(2), kept))  # as they are kept already
    assert store.read(ids(1)).dtype == kept.dtype
    assert np.array_equal(store.read(ids(0, 1)), narrow(given, kept))
    assert np.array_equal(store.read_float32(ids(2)), widen(narrow(states(2), kept), kept))
    # Other tools see what it is.
    path = next(store.folder.glob("*.safetensors"))
    with safe_open(path, framework="pt") as file:
        assert str(file.get_tensor("states").dtype) == f"torch.{kept.value}"


def test_what_the_states_depend_on_decides_what_is_found(filled: Path) -> None:
    for change in (
        {"model_digest": "b" * 64},
        {"held": "int8"},
        {"points": POINTS[::-1]},
        {"positions": "last"},
        {"rendering": "c" * 64},
        {"kept": Kept.FLOAT16},
        {"version": 99},
    ):
        assert StateStore(key(**change), filled).missing(ids(0)) == ids(0), change


def test_a_key_is_readable_and_another_one_in_the_folder_is_an_error(filled: Path) -> None:
    path = StateStore(key(), filled).folder / "key.yaml"
    text = path.read_text()
    assert "positions: mean" in text
    path.write_text(text.replace("positions: mean", "positions: last"))
    with pytest.raises(StoreError, match="positions: there 'last', wanted 'mean'") as raised:
        StateStore(key(), filled)
    assert "\n" not in str(raised.value)
    path.write_text("[")
    with pytest.raises(StoreError, match="cannot be read"):
        StateStore(key(), filled)


def test_read_only_says_how_many_are_missing_and_what_to_do(filled: Path, tmp_path: Path) -> None:
    store = StateStore(key(), filled, mode=Mode.READ_ONLY)
    assert store.missing(ids(0, 5)) == []
    with pytest.raises(UsageError, match="2 of 3 states are not there; set mode to cached"):
        store.missing(ids(0, 7, 8))
    with pytest.raises(UsageError, match="read only"):
        store.append(ids(7), states(7))
    with pytest.raises(StoreError, match="1 of 1 states are not there"):
        StateStore(key(), filled).read(ids(7))


def test_force_computes_everything_anew_and_the_new_rows_count(filled: Path) -> None:
    store = StateStore(key(), filled, mode=Mode.FORCE)
    assert store.missing(ids(0, 1)) == ids(0, 1)
    store.append(ids(0), states(100))
    assert store.missing(ids(0, 1)) == ids(1)
    for each in (store, StateStore(key(), filled)):
        assert np.array_equal(each.read(ids(0, 1)), states(100, 1))
    assert StateStore(key(), filled, mode=Mode.FORCE).missing(ids(0)) == ids(0)


def test_a_store_sees_what_another_one_adds(filled: Path) -> None:
    one, other = StateStore(key(), filled), StateStore(key(), filled)
    one.append(ids(7), states(7))
    assert other.missing(ids(7, 8)) == ids(8)
    other.append(ids(8), states(8))
    assert np.array_equal(one.read(ids(8, 7)), states(8, 7))


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_shard_is_said_and_its_rows_are_missing(filled: Path, caplog, damage: str) -> None:
    path = min(StateStore(key(), filled).folder.glob("*.safetensors"))  # of the rows 0 to 3
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-1] ^= 1
        path.write_bytes(data)
    elif damage == "cut":
        path.write_bytes(data[:-7])
    else:
        path.unlink()
    store = StateStore(key(), filled)
    assert store.missing(ids(1, 4)) == ids(1)
    assert path.name in caplog.text
    assert len(store.broken) == 1
    assert np.array_equal(store.read(ids(4)), states(4))
    with pytest.raises(StoreError, match="1 damaged files left out"):
        store.read(ids(1))
    # Computed again, they are there again.
    store.append(ids(1), states(1))
    assert np.array_equal(StateStore(key(), filled).read(ids(1, 4)), states(1, 4))


def test_a_row_of_a_damaged_shard_is_taken_from_another_one(filled: Path) -> None:
    twice = StateStore(key(), filled, mode=Mode.FORCE)
    twice.append(ids(0, 9), states(0, 9))
    newest = max(twice.folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime_ns)
    newest.write_bytes(newest.read_bytes()[:-1] + b"\xff\xff")
    store = StateStore(key(), filled)
    assert store.missing(ids(0, 9)) == ids(9)
    assert np.array_equal(store.read(ids(0)), states(0))


def test_a_line_that_was_cut_off_or_changed_is_no_row(filled: Path) -> None:
    folder = StateStore(key(), filled).folder
    (path,) = folder.glob("*.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])  # the second of two lines
    store = StateStore(key(), filled)
    assert store.missing(ids(0, 4)) == ids(4)
    assert read_index(folder).torn == (path,)
    path.write_bytes(whole.replace(b'"written_ns":1', b'"written_ns":2'))
    broken = StateStore(key(), filled)
    assert broken.missing(ids(0)) == ids(0)
    assert len(broken.broken) == 2
    # A writer that goes on after a write that failed half way begins a new line.
    path.write_bytes(whole[:-20])
    shard = read_index(folder).shards[0]
    append_line(path, dataclasses.replace(shard, ids=(short_id(ids(6)[0]),)))
    assert len(read_index(folder).shards) == 2


def test_a_write_that_fails_leaves_nothing_that_counts(tmp_path: Path, monkeypatch) -> None:
    store = StateStore(key(), tmp_path)
    store.append(ids(0), states(0))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr("overnight.vectors.states.append_line", full)
        with pytest.raises(UsageError, match="No space left"):
            store.append(ids(1), states(1))
    assert store.missing(ids(0, 1)) == ids(1)
    store.append(ids(1), states(1))
    assert np.array_equal(StateStore(key(), tmp_path).read(ids(0, 1)), states(0, 1))


def test_what_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    store = StateStore(key(), tmp_path)
    store.append(ids(9), states(9))
    for rows, values, said in (
        (ids(0), states(0, 1), "want"),
        (ids(0), states(0)[0], "want"),
        (ids(0, 0), states(0, 0), "twice"),
        (["abc0"], states(0), "no digest"),
        (ids(0), states(0).astype(np.float64), "float64"),
        (ids(0), states(0)[..., :5], "5 dimensions"),
        (ids(0), np.full_like(states(0), np.nan), "not finite"),
    ):
        with pytest.raises(ValueError, match=said):
            store.append(rows, values)
    assert len(StateStore(key(), tmp_path)) == 1
    store.append([], np.empty((0, 3, D), dtype=np.float32))


def _write(root: Path, first: int) -> None:
    store = StateStore(key(), root)
    for number in range(first, first + 6):
        store.append(ids(number, 100 + number), states(number, 100 + number))


def test_writers_at_the_same_time_do_not_meet(tmp_path: Path) -> None:
    # Half of what each of them writes the next one writes as well.
    with ThreadPoolExecutor(3) as writers:
        list(writers.map(lambda first: _write(tmp_path, first), (0, 3, 6)))
    _require_all(tmp_path)


@pytest.mark.slow
def test_processes_that_write_at_the_same_time_do_not_meet(tmp_path: Path) -> None:
    start = multiprocessing.get_context("spawn")
    writers = [start.Process(target=_write, args=(tmp_path, first)) for first in (0, 3, 6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    _require_all(tmp_path)


def _require_all(root: Path) -> None:
    store = StateStore(key(), root)
    everything = [*range(12), *range(100, 112)]
    assert store.missing(ids(*everything)) == []
    assert np.array_equal(store.read(ids(*everything)), states(*everything))
    assert store.broken == ()
