"""Segments and the request cache over them: nothing that was damaged is ever served, nothing that is whole is lost."""

import errno
import json
import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.store import segments
from overnight.store.request_cache import RequestCache, request_key
from overnight.store.segments import SegmentWriter, audit, decode, encode, find, read

MODEL = "a" * 64
KEY = "0123456789abcdef" * 2
SETTINGS = {"engine": "llama_cpp", "batch_invariant": True}


def row(n: int, text: str = "Ada", **fields: Any) -> dict[str, Any]:
    return {
        "custom_id": f"facts|c{n}|control|0.0|0|closed",
        "part": "facts-p01",
        "request_id": f"{n:032x}",
        "status": "ok",
        "finish_reason": "stop",
        "text": text,
        "prompt_tokens": 20,
        "completion_tokens": 3,
        "mean_logprob": -0.25,
        "latency_s": 1.5,
        "attempt": 1,
        "at": "2026-01-01T00:00:00.000+00:00",
        "sent": {"seed": n},
        "prompts": {"user": "f" * 64},
        "error": None,
        "trial": "t",
    } | fields


def cache(root: Path, settings: dict[str, Any] | None = None, model: str = MODEL) -> RequestCache:
    return RequestCache(
        model, settings or SETTINGS, run_id="r1", not_of_the_answer={"trial", "model_digest"}, root=root
    )


def keep(root: Path, *rows: dict[str, Any]) -> Path:
    """Keep rows and return the segment that they went to."""
    kept = cache(root)
    kept.keep(rows)
    kept.close()
    (segment,) = segments.segments(kept.folder)
    return segment


def answers(root: Path, *numbers: int, **other: Any) -> list[dict[str, Any] | None]:
    """Return what is known of some requests, None for a miss."""
    asked = cache(root, **other)
    keys = [asked.key(f"{n:032x}", 0) for n in numbers]
    places = asked.find(keys)
    return [next(iter(asked.read([places[key]]))) if key in places else None for key in keys]


ANY_TEXT = st.text(st.characters(), max_size=40)  # lone surrogates too: a model's bytes may be no text


@given(
    st.dictionaries(
        ANY_TEXT, ANY_TEXT | st.integers() | st.none() | st.floats(allow_nan=False, allow_infinity=False)
    )
)
def test_a_line_reads_back_as_what_was_written(payload: dict[str, Any]) -> None:
    line = encode(KEY, payload)
    assert line.count(b"\n") == 1
    assert decode(line) == payload


@given(st.integers(min_value=0), st.integers(0, 7), ANY_TEXT)
def test_no_flipped_bit_goes_unseen(position: int, bit: int, text: str) -> None:
    line = bytearray(encode(KEY, {"text": text}))
    line[position % len(line)] ^= 1 << bit
    assert decode(bytes(line)) is None


@given(st.integers(min_value=0), ANY_TEXT)
def test_no_torn_line_is_read(length: int, text: str) -> None:
    line = encode(KEY, {"text": text})
    assert decode(line[: length % len(line)]) is None


def test_an_answer_is_found_with_all_that_was_measured_and_with_where_it_comes_from(tmp_path: Path) -> None:
    keep(tmp_path, row(1, "blå \ud800 🜂"))
    (found,) = answers(tmp_path, 1)
    assert found == {
        "finish_reason": "stop",
        "text": "blå \ud800 🜂",
        "prompt_tokens": 20,
        "completion_tokens": 3,
        "mean_logprob": -0.25,
        "sent": {"seed": 1},
        "origin": {
            "run_id": "r1",
            "trial": "t",
            "custom_id": "facts|c1|control|0.0|0|closed",
            "at": "2026-01-01T00:00:00.000+00:00",
            "latency_s": 1.5,
            "attempt": 1,
        },
    }


def test_failures_and_answers_from_the_cache_are_not_kept(tmp_path: Path) -> None:
    # A failure is asked again; an answer that was copied once more would be a second original.
    kept = cache(tmp_path)
    kept.keep([row(1, status="error", finish_reason="error", text=None), row(2, cached=True)])
    kept.close()
    assert not kept.folder.exists()


@pytest.mark.parametrize("change", ["model", "settings", "draw", "request"])
def test_another_model_setting_draw_or_request_is_a_miss(tmp_path: Path, change: str) -> None:
    keep(tmp_path, row(1))
    asked = cache(
        tmp_path,
        SETTINGS | {"batch_invariant": False} if change == "settings" else None,
        "b" * 64 if change == "model" else MODEL,
    )
    key = asked.key(f"{2 if change == 'request' else 1:032x}", 1 if change == "draw" else 0)
    assert asked.find([key]) == {}


@given(st.data())
def test_keys_are_equal_only_where_all_their_parts_are(data: st.DataObject) -> None:
    part = st.tuples(
        st.text("0123456789abcdef", min_size=32, max_size=32), st.integers(0, 99), st.sampled_from("abc")
    )
    one, other = data.draw(part), data.draw(part)
    assert (request_key(*one) == request_key(*other)) == (one == other)


def test_of_two_answers_to_one_request_the_first_one_stays_the_answer(tmp_path: Path) -> None:
    # Two runs may have asked at the same time; whoever looks later always finds the same one of the two.
    segment = keep(tmp_path, row(1, "first"), row(1, "second"))
    later = segment.with_name(segment.name.replace(segment.name[:4], "9999", 1))
    later.write_bytes(encode(cache(tmp_path).key(f"{1:032x}", 0), {"text": "third", "finish_reason": "stop"}))
    (found,) = answers(tmp_path, 1)
    assert found is not None
    assert found["text"] == "first"


def test_a_torn_tail_costs_its_own_line_only_and_the_next_writer_begins_a_new_one(tmp_path: Path) -> None:
    segment = keep(tmp_path, row(1), row(2))
    segment.write_bytes(segment.read_bytes()[:-10])
    assert audit(segment).is_torn
    assert [a and a["text"] for a in answers(tmp_path, 1, 2)] == ["Ada", None]
    keep(tmp_path, row(3, "Bert"))  # the same process, so the same segment
    assert [a and a["text"] for a in answers(tmp_path, 1, 2, 3)] == ["Ada", None, "Bert"]


def test_a_flipped_bit_is_passed_over_said_once_and_healed_by_the_next_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    segment = keep(tmp_path, row(1), row(2))
    data = bytearray(segment.read_bytes())
    data[data.index(b'"Ada"') + 2] ^= 4
    segment.write_bytes(data)
    assert audit(segment).damaged == (2,)  # line 1 is the header
    with caplog.at_level(logging.WARNING, "overnight"):
        first, second = answers(tmp_path, 1, 2)
        answers(tmp_path, 1)
    assert first is None
    assert second is not None
    assert len([r for r in caplog.records if "overnight cache verify" in r.getMessage()]) == 1
    keep(tmp_path, row(1, "again"))
    (healed,) = answers(tmp_path, 1)
    assert healed is not None
    assert healed["text"] == "again"


def test_foreign_files_in_the_folder_are_passed_over(tmp_path: Path) -> None:
    segment = keep(tmp_path, row(1))
    (segment.parent / "notes.txt").write_bytes(os.urandom(5000))
    (segment.parent / ".nfs000001").write_bytes(b"x")
    (segment.parent / "folder.answers").mkdir()
    junk = segment.with_name(segment.name.replace(segment.name[:8], "20000101"))
    junk.write_bytes(os.urandom(100_000))  # even under one of our names
    assert answers(tmp_path, 1)[0] is not None


def test_a_segment_says_what_it_was_answered_with(tmp_path: Path) -> None:
    header = decode(keep(tmp_path, row(1)).read_bytes().splitlines(keepends=True)[0])
    assert header == {"model_digest": MODEL, "settings": SETTINGS}


def test_an_answer_that_is_gone_between_finding_and_reading_is_a_miss(tmp_path: Path) -> None:
    segment = keep(tmp_path, row(1))
    asked = cache(tmp_path)
    places = asked.find([asked.key(f"{1:032x}", 0)])
    segment.unlink()
    assert list(asked.read(places.values())) == [None]


def test_a_line_of_an_unknown_form_is_a_miss(tmp_path: Path) -> None:
    writer = SegmentWriter(cache(tmp_path).folder, {})
    writer.append([encode(cache(tmp_path).key(f"{1:032x}", 0), {"text": None, "finish_reason": "stop"})])
    writer.append([encode(cache(tmp_path).key(f"{2:032x}", 0), {"text": "x", "finish_reason": "error"})])
    writer.close()
    assert answers(tmp_path, 1, 2) == [None, None]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_said_once_as_a_user(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        cache(tmp_path).keep([row(1)])
    finally:
        tmp_path.chmod(0o700)
    assert answers(tmp_path, 1) == [None]


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES, errno.ESTALE])
def test_a_cache_that_cannot_be_written_to_is_said_once_and_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("overnight.store.segments.os.write", refuse)
    with caplog.at_level(logging.WARNING, "overnight"):
        for _ in range(3):
            kept = cache(tmp_path)
            kept.keep([row(1)])
            kept.keep([row(2)])
            kept.close()
    assert len(caplog.records) == 1
    assert os.strerror(number) in caplog.text
    monkeypatch.undo()
    assert answers(tmp_path, 1, 2) == [None, None]


def test_a_file_system_that_fails_at_the_end_only_is_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = os.close

    def close(handle: int) -> None:
        real(handle)
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr("overnight.store.segments.os.close", close)
    with caplog.at_level(logging.WARNING, "overnight"):
        keep(tmp_path, row(1))
    assert "Disk quota exceeded" in caplog.text


def test_a_segment_that_cannot_be_read_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    segment = keep(tmp_path, row(1))
    # Permissions do not bind root, on whom CI runs.
    foreign = segment.with_name(segment.name.replace(segment.name[:8], "20000101"))
    foreign.write_bytes(segment.read_bytes())
    real = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path == foreign:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with caplog.at_level(logging.WARNING, "overnight"):
        (found,) = answers(tmp_path, 1)
    assert found is not None
    assert "cannot be read (Permission denied)" in caplog.text


def test_a_disk_that_fills_up_in_mid_line_damages_that_line_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    room = [900]

    def write(handle: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        n = real(handle, data[: room[0]])
        room[0] -= n
        return n

    monkeypatch.setattr("overnight.store.segments.os.write", write)
    kept = cache(tmp_path)
    kept.keep([row(n) for n in range(5)])  # more than 900 bytes
    kept.close()
    monkeypatch.undo()
    keep(tmp_path, row(7))
    found = answers(tmp_path, 0, 1, 2, 3, 4, 7)
    assert found[0] is not None
    assert found[4] is None
    assert found[5] is not None


WRITER = """
    import sys
    from pathlib import Path
    from overnight.store.request_cache import RequestCache

    root, first = Path(sys.argv[1]), int(sys.argv[2])
    kept = RequestCache("a" * 64, {"engine": "llama_cpp", "batch_invariant": True}, run_id="r", root=root)
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(first, first + 200):
        kept.keep([{
            "custom_id": f"facts|c{n}|control|0.0|0|closed", "request_id": f"{n:032x}", "status": "ok",
            "finish_reason": "stop", "text": f"{n} " * 200, "at": "", "latency_s": 0, "attempt": 1,
        }])
    print("done", flush=True)
    sys.stdin.readline()
"""


def test_two_processes_write_at_once_and_lose_nothing(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path), str(first)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in (0, 100)  # a hundred requests are answered by both
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:  # at once
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        assert writer.stdout.readline() == "done\n"
    # Both are still alive and have not closed their files: a reader sees what they have finished.
    found = answers(tmp_path, *range(300))
    for writer in writers:
        writer.communicate("leave\n", timeout=30)
        assert writer.returncode == 0
    assert [answer and answer["text"] for answer in found] == [f"{n} " * 200 for n in range(300)]
    files = segments.segments(cache(tmp_path).folder)
    assert [audit(file).n_lines for file in files] == [200, 200]
    assert not any(audit(file).damaged for file in files)


def test_a_process_has_one_segment_however_often_it_comes_back(tmp_path: Path) -> None:
    # File systems of clusters count files.
    for n in range(5):
        keep(tmp_path, row(n))
    assert [a is not None for a in answers(tmp_path, *range(5))] == [True] * 5


def test_places_are_kept_of_what_is_wanted_only(tmp_path: Path) -> None:
    segment = keep(tmp_path, *(row(n) for n in range(50)))
    wanted = cache(tmp_path).key(f"{7:032x}", 0)
    looked = find(segment.parent, [wanted, "f" * 32])
    assert set(looked.places) == {wanted}
    assert looked.n_damaged == 0
    (found,) = read(looked.places.values())
    assert found is not None
    assert json.loads(json.dumps(found["sent"])) == {"seed": 7}
