from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overnight.errors import StoreError
from overnight.store.journal import Journal, finished_ids, read_rows

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=50)


def row(name: str, text: str | None = "Paris", status: str = "ok") -> dict[str, Any]:
    return {"custom_id": name, "status": status, "text": text}


def written(path: Path, *rows: dict[str, Any]) -> bytes:
    with Journal(path) as journal:
        journal.append(rows)
    return path.read_bytes()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journal") / "generations.jsonl"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "".join(map(chr, range(32))) + "\x7f\x85",
        "a\r\nb\rc\nd",
        "\u2028\u2029\ufeff",
        "\ud800",
        "\udfff\ud800 and back",
        "\0",
        '"\\u0041" \\',
        "𝄞",
        "x" * 100_000,
        "\n" * 100_000,
    ],
    ids=[
        "empty",
        "control",
        "lines",
        "separators",
        "high",
        "surrogates",
        "nul",
        "quotes",
        "astral",
        "100kB",
        "100k lines",
    ],
)
def test_a_reply_reads_back_exactly(tmp_path: Path, text: str) -> None:
    path = tmp_path / "generations.jsonl"
    content = written(path, row("a", text), row("b"))
    assert list(read_rows(path)) == [row("a", text), row("b")]
    assert content.count(b"\n") == 2
    assert content.isascii()


@settings(max_examples=40)
@given(st.lists(st.builds(row, ANY_TEXT, ANY_TEXT | st.none(), st.sampled_from(["ok", "error"])), max_size=5))
def test_rows_read_back_in_the_order_in_which_they_were_written(
    scratch: Path, rows: list[dict[str, Any]]
) -> None:
    scratch.unlink(missing_ok=True)
    with Journal(scratch) as journal:
        for each in rows[:2]:
            journal.append([each])
        journal.append(rows[2:])
    assert list(read_rows(scratch)) == rows


def test_a_row_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    path = tmp_path / "generations.jsonl"
    with Journal(path) as journal:
        journal.append([row("a")])
        assert [r["custom_id"] for r in read_rows(path)] == ["a"]


def test_opening_again_adds_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "generations.jsonl"
    written(path, row("a"))
    written(path, row("b"))
    assert [r["custom_id"] for r in read_rows(path)] == ["a", "b"]


def test_a_journal_cut_at_any_byte_keeps_its_whole_rows_and_can_be_gone_on_with(scratch: Path) -> None:
    # Whoever is killed while writing leaves a prefix of what was to be written.
    rows = [row("a", "Paris\n"), row("b", '\ud800"\\'), row("c", None, "error")]
    scratch.unlink(missing_ok=True)
    content = written(scratch, *rows)
    for n_bytes in range(len(content) + 1):
        scratch.write_bytes(content[:n_bytes])
        whole = rows[: content[:n_bytes].count(b"\n")]
        assert list(read_rows(scratch)) == whole
        with Journal(scratch) as journal:
            assert journal.n_bytes_cut == n_bytes - (content[:n_bytes].rfind(b"\n") + 1)
            journal.append([row("next")])
        assert list(read_rows(scratch)) == [*whole, row("next")]


@settings(max_examples=40)
@given(st.lists(ANY_TEXT, min_size=1, max_size=4), st.data())
def test_any_rows_cut_anywhere_leave_a_prefix(scratch: Path, texts: list[str], data: st.DataObject) -> None:
    rows = [row(str(n), text) for n, text in enumerate(texts)]
    scratch.unlink(missing_ok=True)
    content = written(scratch, *rows)
    n_bytes = data.draw(st.integers(0, len(content)))
    scratch.write_bytes(content[:n_bytes])
    found = list(read_rows(scratch))
    assert found == rows[: len(found)]
    assert written(scratch, row("next")).startswith(content[: content[:n_bytes].rfind(b"\n") + 1])
    assert list(read_rows(scratch)) == [*found, row("next")]


@pytest.mark.parametrize("n_bytes", [10, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 200_000])
def test_a_torn_line_of_any_length_is_cut_off(tmp_path: Path, n_bytes: int) -> None:
    path = tmp_path / "generations.jsonl"
    whole = written(path, row("a"))
    path.write_bytes(whole + b"x" * n_bytes)
    with Journal(path) as journal:
        assert journal.n_bytes_cut == n_bytes
    assert path.read_bytes() == whole


def test_a_row_that_lacks_only_its_line_end_is_not_done(tmp_path: Path) -> None:
    path = tmp_path / "generations.jsonl"
    content = written(path, row("a"), row("b"))
    path.write_bytes(content[:-1])
    assert finished_ids(path) == {"a"}


def test_nothing_is_cut_off_a_whole_journal(tmp_path: Path) -> None:
    path = tmp_path / "generations.jsonl"
    content = written(path, row("a"))
    with Journal(path) as journal:
        assert journal.n_bytes_cut == 0
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"custom_id": "b"}',
        b'{"status": "ok"}',
        b"\xff",
        b"\0" * 9,
        b"1" * 5000,
    ],
)
def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "generations.jsonl"
    whole = written(path, row("a"))
    path.write_bytes(whole + line + b"\n" + whole)
    with pytest.raises(StoreError, match=r"generations\.jsonl:2: not a journal row; restore the file"):
        list(read_rows(path))


def test_a_journal_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    assert list(read_rows(tmp_path / "generations.jsonl")) == []
    assert finished_ids(tmp_path / "generations.jsonl") == set()


def test_a_failed_draw_is_a_row_that_is_not_done(tmp_path: Path) -> None:
    path = tmp_path / "generations.jsonl"
    written(path, row("a"), row("b", None, "error"))
    assert finished_ids(path) == {"a"}
    assert len(list(read_rows(path))) == 2


@pytest.mark.parametrize("order", [("error", "ok"), ("ok", "error"), ("error", "error", "ok")])
def test_an_answer_counts_whatever_failed_before_or_after_it(tmp_path: Path, order: tuple[str, ...]) -> None:
    path = tmp_path / "generations.jsonl"
    written(path, *(row("a", status=status) for status in order))
    assert finished_ids(path) == {"a"}


def test_what_is_not_a_number_is_refused_and_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "generations.jsonl"
    before = written(path, row("a"))
    with Journal(path) as journal, pytest.raises(ValueError, match="not JSON compliant"):
        journal.append([row("b"), row("c") | {"latency_s": float("nan")}])
    assert path.read_bytes() == before


def test_reading_does_not_change_the_file(tmp_path: Path) -> None:
    # `overnight show` reads a journal while its run writes: the torn line may be a row on its way.
    path = tmp_path / "generations.jsonl"
    content = written(path, row("a"), row("b"))[:-5]
    path.write_bytes(content)
    assert finished_ids(path) == {"a"}
    assert path.read_bytes() == content
