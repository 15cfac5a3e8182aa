import contextlib
import json
import math
import random
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.engines.state import read_state
from overnight.errors import EngineUnavailable, StoreError
from overnight.runs.captured import note_passes
from overnight.runs.chunks import Chunk, read_chunks
from overnight.runs.parsing import effective_rows, row_at
from overnight.store.files import read_object
from overnight.store.journal import Journal, finished_ids, line_of, read_rows
from overnight.store.manifest import Artifact, RunManifest, TrialRecord, read_manifest
from overnight.store.run_folder import RunFolder
from overnight.store.segments import SegmentWriter, audit, encode, find, read
from tests.fuzz.effort import effort
from tests.fuzz.mutations import ODD, bodies, damaged
from tests.fuzz.refusals import outcome

TEXT = st.text(st.characters(), max_size=12)
ROW_KEYS = ("custom_id", "status", "text", "completion_tokens", "token_logprobs")
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "custom_id": TEXT,
            "status": st.sampled_from(["ok", "ok", "error"]),
            "text": TEXT | st.none(),
            "completion_tokens": st.integers(0, 99),
            "token_logprobs": st.lists(st.floats(-9, 0), max_size=3),
        }
    ),
    min_size=1,
    max_size=5,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


def written(path: Path, rows: list[dict[str, Any]]) -> bytes:
    path.unlink(missing_ok=True)
    with Journal(path) as journal:
        journal.append(rows)
    return path.read_bytes()


def readable(path: Path) -> tuple[list[dict[str, Any]], str | None]:
    """Return the rows before what is refused, and the refusal."""
    found: list[dict[str, Any]] = []
    _, message = outcome(lambda: found.extend(read_rows(path)), by=StoreError)
    if message is not None:
        found = []
        with contextlib.suppress(StoreError):
            for row in read_rows(path):
                found.append(row)
    return found, message


def said(row: dict[str, Any]) -> dict[str, Any]:
    """Return what a row was written with; a damaged name of its check is one key more, and nothing else."""
    return {key: value for key, value in row.items() if key in ROW_KEYS}


@effort(0.4)
@given(rows=ROWS, data=st.data())
def test_what_a_damaged_journal_gives_was_written(
    folder: Path, rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    path = folder / "damaged.jsonl"
    whole = written(path, rows)
    content = data.draw(damaged(whole))
    path.write_bytes(content)
    found, message = readable(path)
    assert all(said(row) in rows for row in found)
    if message is not None:
        assert message.startswith(f"{path}:")
    elif not whole.startswith(content):
        # Nothing was said, so nothing is missing but a torn end; a line may stand twice.
        assert (
            [row for row in rows if row not in found] == []
            or content.rpartition(b"\n")[2]
            or is_without_lines(whole, content)
        )


def is_without_lines(whole: bytes, content: bytes) -> bool:
    """Return whether all that is gone are whole lines: their draws are asked again."""
    lines = whole.splitlines(keepends=True)
    return all(line in lines for line in content.splitlines(keepends=True))


@effort(0.4)
@given(rows=ROWS, seed=st.integers(0, 2**32), foreign=ROWS)
def test_rows_that_stand_twice_or_elsewhere_count_once(
    folder: Path, rows: list[dict[str, Any]], seed: int, foreign: list[dict[str, Any]]
) -> None:
    # An answer is the same wherever it stands; of two rows of a draw an answer counts, whatever failed beside it.
    path = folder / "shuffled.jsonl"
    lines = written(path, rows).splitlines(keepends=True)
    done = finished_ids(path)
    lines += [*lines, *map(line_of, foreign)]
    random.Random(seed).shuffle(lines)
    path.write_bytes(b"".join(lines))
    assert finished_ids(path) == done | {row["custom_id"] for row in foreign if row["status"] == "ok"}
    with path.open("rb") as file:
        for name, offset in effective_rows(path).items():
            row = row_at(file, offset)
            assert row in rows + foreign
            assert row["custom_id"] == name
            assert (row["status"] == "ok") == (name in finished_ids(path))


@effort(0.4)
@given(rows=ROWS, torn=ROWS, data=st.data())
def test_torn_lines_of_two_writers_are_no_rows(
    folder: Path, rows: list[dict[str, Any]], torn: list[dict[str, Any]], data: st.DataObject
) -> None:
    path = folder / "torn.jsonl"
    first, second = written(path, rows), written(path, torn)
    cut, gone = data.draw(st.integers(0, len(first))), data.draw(st.integers(0, len(second)))
    path.write_bytes(first[:cut] + second[gone:])
    found, message = readable(path)
    assert all(said(row) in rows + torn for row in found)
    assert message is None or message.startswith(f"{path}:")


@effort(0.4)
@given(rows=ROWS, data=st.data())
def test_a_journal_that_was_damaged_at_its_end_goes_on(
    folder: Path, rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    path = folder / "goes-on.jsonl"
    whole = written(path, rows)
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    kept = list(read_rows(path))
    with Journal(path) as journal:
        journal.append(rows[:1])
    assert list(read_rows(path)) == [*kept, rows[0]]


@pytest.mark.parametrize("at", range(0, 120, 7))
def test_a_flipped_bit_in_an_answer_is_found_out(tmp_path: Path, at: int) -> None:
    # "Paris" and "Qaris" are both answers: without a check nobody would know.
    rows = [
        {"custom_id": f"d|{n}", "status": "ok", "text": "Paris, the capital of France."} for n in range(2)
    ]
    path = tmp_path / "j.jsonl"
    whole = bytearray(written(path, rows))
    whole[at] ^= 1
    path.write_bytes(whole)
    with pytest.raises(StoreError, match=r"j\.jsonl:[12]: not a journal row"):
        list(read_rows(path))


def test_rows_without_a_check_are_of_an_older_version(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    row = {"custom_id": "d", "status": "ok", "text": "x"}
    path.write_text(json.dumps(row) + "\n")
    with Journal(path) as journal:
        journal.append([row | {"custom_id": "e"}])
    assert [found["custom_id"] for found in read_rows(path)] == ["d", "e"]
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    with pytest.raises(StoreError, match=":3: not a journal row"):
        list(read_rows(path))


CHUNK = Chunk(
    first=0,
    n=4,
    path="t/results/reconstructions/0.bin",
    sha256="a" * 64,
    bytes=64,
    seconds_drawing=1.5,
    seconds_encoding=0.5,
    tokens_drawn=10,
    tokens_encoded=12,
    rows=2,
    encoder_rows=2,
    halvings=0,
    rank=0,
)


@given(data=st.data())
def test_what_a_damaged_list_of_chunks_gives_was_written(folder: Path, data: st.DataObject) -> None:
    path = folder / "chunks.jsonl"
    whole = line_of(CHUNK.to_json()) + line_of(CHUNK.to_json() | {"first": 4})
    path.write_bytes(data.draw(damaged(whole)))
    found, message = outcome(lambda: list(read_chunks(path)), by=StoreError)
    if found is None:
        assert str(message).startswith(f"{path}:")
    else:
        assert all(chunk.to_json() | {"first": 0} == CHUNK.to_json() for chunk in found)


@pytest.mark.parametrize("field", sorted(CHUNK.to_json()))
def test_a_chunk_of_wrong_values_is_none(folder: Path, field: str) -> None:
    path = folder / "chunk.jsonl"
    for odd in ODD:
        if isinstance(odd, float) and not math.isfinite(odd):
            continue
        path.write_bytes(line_of(CHUNK.to_json() | {field: odd}))
        found, _ = outcome(lambda: list(read_chunks(path)), by=StoreError)
        for chunk in found or ():
            assert type(getattr(chunk, field)) in {type(getattr(CHUNK, field)), int}
            assert chunk.indices


def run_folder(root: Path) -> RunFolder:
    folder = RunFolder(root / "r1")
    folder.path.mkdir(parents=True, exist_ok=True)
    return folder


MANIFEST = RunManifest(
    run_id="r1",
    kind="prompt-sweep",
    name="s",
    fingerprint="f" * 64,
    created=datetime(2026, 1, 2, tzinfo=UTC),
    updated=datetime(2026, 1, 2, tzinfo=UTC),
    execution={"condition": "both"},
    environment={"python": "3.11"},
    items={"items/d.jsonl": Artifact(sha256="a" * 64, bytes=3)},
    trials={"a": TrialRecord(fingerprint="a" * 64, requested={"top_k": 0})},
).model_dump(mode="json")
STATE = {"status": "serving", "url": "http://127.0.0.1:1", "urls": [], "slots": 4, "context_tokens": 512}
PASSES = {"passes": 3, "seconds": 1.5, "largest_probe_difference": None}


@given(content=bodies(MANIFEST))
def test_a_damaged_manifest_is_read_as_it_stands_or_refused_by_its_name(folder: Path, content: bytes) -> None:
    run = run_folder(folder)
    run.manifest.write_bytes(content)
    found, message = outcome(read_manifest, run, by=StoreError)
    if found is None:
        assert str(message).startswith(f"{run.manifest}:")
    else:
        kept, stands = found.model_dump(mode="json"), json.loads(content)
        assert all(kept[key] == stands[key] for key in ("run_id", "kind", "fingerprint", "execution"))


@given(content=bodies(STATE))
def test_a_damaged_state_of_an_engine_is_that_of_none(folder: Path, content: bytes) -> None:
    path = folder / "state.json"
    path.write_bytes(content)
    found, message = outcome(read_state, path, by=EngineUnavailable)
    assert (found is None) == (message is not None)
    assert found is None or (type(found.slots) is int and isinstance(found.status, str))


@effort(0.4)
@given(content=bodies(PASSES))
def test_damaged_facts_of_a_capture_are_refused_by_their_name(folder: Path, content: bytes) -> None:
    files = run_folder(folder).trial("a")
    files.capture_facts.parent.mkdir(parents=True, exist_ok=True)
    files.capture_facts.write_bytes(content)
    _, message = outcome(note_passes, files, 1, 0.5, None, by=StoreError)
    assert message is None or message.startswith(f"{files.capture_facts}:")


@pytest.mark.parametrize("content", [b"[" * 3000, b"9" * 5000, b"\xff", b"", b"[]", b"null"])
def test_what_is_no_json_object_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    found, message = outcome(read_object, path, by=StoreError)
    assert found is None
    assert str(message).startswith(f"{path}:")


@given(
    payloads=st.lists(st.dictionaries(TEXT, TEXT | st.integers(), max_size=3), min_size=1, max_size=4),
    data=st.data(),
)
def test_what_a_damaged_cache_gives_was_kept(
    folder: Path, payloads: list[dict[str, Any]], data: st.DataObject
) -> None:
    cache = folder / "segments"
    keys = [f"{number:032x}" for number in range(len(payloads))]
    segment = cache / writer_segment()
    segment.parent.mkdir(exist_ok=True)
    segment.write_bytes(data.draw(damaged(b"".join(map(encode, keys, payloads)))))
    found = find(cache, keys)
    for key, payload in zip(found.places, read(found.places.values()), strict=True):
        assert payload == payloads[keys.index(key)]
    audit(segment)


def writer_segment() -> str:
    with tempfile.TemporaryDirectory() as somewhere:
        writer = SegmentWriter(Path(somewhere), {})
        writer.append([encode("0" * 32, {})])
        writer.close()
        (segment,) = Path(somewhere).iterdir()
        return segment.name
