"""Saying vectors in words, chunk by chunk: what is on disk, what counts, and what is done again."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from overnight.errors import EngineUnavailable, OutOfMemory, StopRequested, UsageError
from overnight.ids import file_digest
from overnight.runs.chunks import read_chunks, whole_chunks
from overnight.runs.generating import Generated, count_draws
from overnight.runs.verbalising import VerbalisingWork, verbalise, verbalise_in_turns
from overnight.store import journal as journals
from overnight.store.journal import read_rows
from overnight.vectors import shards
from overnight.vectors.floats import Kept
from tests.unit.verbalising.made_up import FakeVerbaliser, vector_of, with_chunks_of, work


class Killed(BaseException):
    """What no `except Exception` sees: a process that ends here and now."""


def run(one: VerbalisingWork, *engines: FakeVerbaliser, until: datetime | None = None) -> Generated:
    return asyncio.run(verbalise(one, engines or (FakeVerbaliser(),), until=until))


def what_counts(one: VerbalisingWork) -> dict[tuple[int, int], tuple[Any, ...]]:
    """Return text, tokens, log-probability and reconstruction of each draw, as a reader finds them."""
    first = {}
    for row in read_rows(one.files.journal):
        first.setdefault((row["vector"], row["draw"]), row)
    found = {}
    for chunk in whole_chunks(one.folder, one.trial.slug, one.trial.n_draws):
        states = shards.map_shard(one.folder.path / chunk.path, Kept(one.trial.kept))
        assert states.shape == (chunk.n, one.trial.n_draws, 3)
        assert file_digest(one.folder.path / chunk.path) == chunk.sha256
        for place, index in enumerate(chunk.indices):
            for draw in range(one.trial.n_draws):
                row = first[index, draw]
                key = (index, draw)
                assert key not in found
                found[key] = (
                    row["custom_id"],
                    row["text"],
                    tuple(row["token_ids"]),
                    row["logprob_sum"],
                    tuple(states[place, draw].tolist()),
                )
    return found


def test_every_draw_of_the_trials_own_vectors_is_on_disk_with_its_reconstruction(tmp_path: Path) -> None:
    one = work(tmp_path)  # one text of another dataset, whose two vectors come first; five texts of its own
    generated = run(one)
    counted = what_counts(one)
    assert sorted({index for index, _ in counted}) == list(range(2, 12))
    assert len(counted) == 10 * 4
    assert generated.counts.done == generated.counts.expected == 40
    assert generated.n_sent == 40
    assert generated.counts.truncated == 10  # draw 1 of each vector ran into the limit
    for _, text, *_, state in counted.values():
        assert np.allclose(state, vector_of(text))


def test_draws_of_two_positions_of_a_text_are_samples_of_one_item(tmp_path: Path) -> None:
    one = work(tmp_path, n_texts=1)
    run(one)
    rows = list(read_rows(one.files.journal))
    assert [row["custom_id"].split("|")[4] for row in rows] == [str(index) for index in range(8)]
    assert {row["custom_id"].split("|")[1] for row in rows} == {"texts-0"}
    assert [(row["vector"], row["draw"]) for row in rows] == [(i, d) for i in (2, 3) for d in range(4)]


def test_what_it_took_stands_beside_each_chunk(tmp_path: Path) -> None:
    one = with_chunks_of(work(tmp_path), 4)
    run(one)
    chunks = list(read_chunks(one.files.chunks))
    assert [(chunk.first, chunk.n) for chunk in chunks] == [(2, 4), (6, 4), (10, 2)]
    assert [(c.seconds_drawing, c.seconds_encoding, c.halvings) for c in chunks] == [(0.5, 0.25, 1)] * 3
    assert [(c.tokens_drawn, c.tokens_encoded) for c in chunks] == [(48, 32), (48, 32), (24, 16)]


@pytest.mark.parametrize("encode", ["text", "tokens"])
def test_the_encoder_reads_the_text_or_the_tokens_that_were_drawn(tmp_path: Path, encode: str) -> None:
    one = work(tmp_path, encode=encode)
    run(one)
    for _, text, token_ids, _, state in what_counts(one).values():
        assert np.allclose(state, vector_of(text if encode == "text" else str(token_ids)))


@pytest.mark.parametrize("kept", ["float16", "bfloat16"])
def test_reconstructions_are_kept_in_fewer_bits_where_that_is_asked_for(tmp_path: Path, kept: str) -> None:
    whole, half = work(tmp_path / "a"), work(tmp_path / "b", kept=kept)
    run(whole)
    run(half)
    sizes = [sum(c.bytes for c in read_chunks(one.files.chunks)) for one in (whole, half)]
    assert sizes[0] - sizes[1] == pytest.approx(10 * 4 * 3 * 2, abs=64)  # headers differ in a name


@pytest.mark.parametrize("size", [1, 3, 16])
@pytest.mark.parametrize("n_processes", [1, 2, 3])
def test_neither_chunks_nor_processes_change_what_is_drawn(
    tmp_path: Path, size: int, n_processes: int
) -> None:
    alone, several = work(tmp_path / "a"), with_chunks_of(work(tmp_path / "b"), size)
    run(alone)
    engines = [FakeVerbaliser() for _ in range(n_processes)]
    run(several, *engines)
    assert what_counts(several) == what_counts(alone)
    if size == 1:
        assert all(engine.asked for engine in engines)  # each had work to do


def test_a_finished_trial_is_asked_nothing(tmp_path: Path) -> None:
    one = work(tmp_path)
    run(one)
    before = one.files.journal.read_bytes()
    engine = FakeVerbaliser()
    generated = run(one, engine)
    assert engine.asked == []
    assert generated.n_sent == 0
    assert one.files.journal.read_bytes() == before


WRITES = ("draws", "half of the draws", "reconstructions", "line", "half a line")


@pytest.mark.parametrize("killed_at", WRITES)
def test_a_trial_that_is_killed_at_any_write_goes_on_and_ends_the_same(
    tmp_path: Path, killed_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each write of the second chunk in turn is the last one: before it, or with half of it on disk.
    whole, killed = with_chunks_of(work(tmp_path / "a"), 4), with_chunks_of(work(tmp_path / "b"), 4)
    run(whole)
    _kill_in_second_chunk(monkeypatch, killed_at)
    with pytest.raises(Killed):
        run(killed)
    monkeypatch.undo()
    counts = count_draws(killed.folder, killed.plan, killed.trial)
    assert counts.done == 16  # the first chunk alone counts
    assert counts.expected == 40
    again = FakeVerbaliser()
    run(killed, again)
    assert len(again.asked) == 6  # the vectors of the second chunk and of the third
    assert what_counts(killed) == what_counts(whole)
    ids = [row["custom_id"] for row in read_rows(killed.files.journal)]
    assert len(ids) == len(set(ids)) == 40


def _kill_in_second_chunk(monkeypatch: pytest.MonkeyPatch, killed_at: str) -> None:
    n_seen = {"draws": 0, "line": 0, "reconstructions": 0}
    append, write_shard = journals.Journal.append, shards.write_shard

    def is_second(kind: str) -> bool:
        n_seen[kind] += 1
        return n_seen[kind] == 2

    def appended(self: journals.Journal, rows: Any) -> None:
        rows = list(rows)
        kind = "line" if self.path.name == "chunks.jsonl" else "draws"
        if not is_second(kind) or kind not in killed_at:
            append(self, rows)
            return
        if killed_at == "half of the draws":
            append(self, rows[: len(rows) // 2])
            with self.path.open("ab") as file:
                file.write(json.dumps(rows[-1]).encode()[:20])  # and a torn line
        if killed_at == "half a line":
            with self.path.open("ab") as file:
                file.write(json.dumps(rows[0]).encode()[:20])
        raise Killed

    def written(path: Path, *arguments: Any) -> tuple[str, int]:
        if is_second("reconstructions") and killed_at == "reconstructions":
            raise Killed
        return write_shard(path, *arguments)

    monkeypatch.setattr(journals.Journal, "append", appended)
    monkeypatch.setattr("overnight.runs.verbalising.write_shard", written)


def test_the_reconstruction_of_a_draw_that_was_kept_is_of_the_text_that_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a GPU a text that is drawn again may be another one: text and reconstruction are of one draw all the same.
    one = with_chunks_of(work(tmp_path), 4)
    _kill_in_second_chunk(monkeypatch, "half of the draws")
    with pytest.raises(Killed):
        run(one)
    monkeypatch.undo()
    run(one, FakeVerbaliser(others="!"))
    for _, text, *_, state in what_counts(one).values():
        assert np.allclose(state, vector_of(text))


def test_reconstructions_that_are_gone_are_made_again(tmp_path: Path) -> None:
    one = with_chunks_of(work(tmp_path), 4)
    run(one)
    before = what_counts(one)
    (one.files.reconstructions / "00000006.safetensors").unlink()
    assert count_draws(one.folder, one.plan, one.trial).done == 24
    run(with_chunks_of(one, 3), FakeVerbaliser(others="!"))
    assert what_counts(one) == before
    assert [(chunk.first, chunk.n) for chunk in read_chunks(one.files.chunks)] == [
        (2, 4),
        (10, 2),
        (6, 3),
        (9, 1),
    ]


def test_a_file_that_no_line_names_is_taken_away(tmp_path: Path) -> None:
    one = with_chunks_of(work(tmp_path), 4)
    run(one)
    stray = one.files.reconstructions / "00000003.safetensors"
    stray.write_bytes(b"half")
    run(one)
    assert not stray.exists()


def test_a_stop_is_heard_within_a_chunk_and_what_was_drawn_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overnight.runs.generating._STOP_LOOK_S", 0)
    one = with_chunks_of(work(tmp_path), 4)

    def stop(what: str) -> None:
        if what == "verbalise" and one.files.journal.is_file() and one.files.journal.stat().st_size:
            one.folder.stop_request.touch()

    with pytest.raises(StopRequested, match=r"24 of 40 draws are left"):
        run(one, FakeVerbaliser(fails=stop))
    assert sum(1 for _ in read_rows(one.files.journal)) == 32  # of the second chunk too
    one.folder.stop_request.unlink()
    run(one)
    alone = with_chunks_of(work(tmp_path / "alone"), 4)
    run(alone)
    assert what_counts(one) == what_counts(alone)


def test_no_chunk_is_begun_after_the_last_call(tmp_path: Path) -> None:
    one = work(tmp_path)
    engine = FakeVerbaliser()
    generated = run(one, engine, until=datetime.now(UTC) - timedelta(seconds=1))
    assert engine.asked == []
    assert generated.counts.done == 0


def test_trials_take_turns_until_all_are_done(tmp_path: Path) -> None:
    one, two = work(tmp_path / "a"), work(tmp_path / "b")
    seen = []
    asyncio.run(
        verbalise_in_turns(
            [one, two],
            [FakeVerbaliser()],
            until=datetime.now(UTC) + timedelta(minutes=5),
            on_turn=lambda trial, generated: seen.append((trial.slug, generated.counts.done)),
        )
    )
    assert what_counts(one) == what_counts(two)
    assert seen[-1][1] == 40


def test_memory_that_runs_out_is_said_to_whoever_can_hold_the_model_otherwise(tmp_path: Path) -> None:
    def too_large(what: str) -> None:
        if what == "reconstruct":
            raise OutOfMemory("not even one text fits")

    one = work(tmp_path)
    with pytest.raises(OutOfMemory, match="not even one text"):
        run(one, FakeVerbaliser(fails=too_large))
    assert count_draws(one.folder, one.plan, one.trial).done == 0
    run(one)
    assert len(what_counts(one)) == 40


def test_an_engine_that_comes_back_is_asked_again(tmp_path: Path) -> None:
    calls: list[str] = []

    def dies_once(what: str) -> None:
        calls.append(what)
        if calls == ["verbalise"]:
            raise EngineUnavailable("the engine is gone")

    one = work(tmp_path)
    run(one, FakeVerbaliser(fails=dies_once))
    assert calls[:3] == ["verbalise", "recover", "verbalise"]
    assert len(what_counts(one)) == 40


def test_a_dataset_without_a_single_vector_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"dataset texts: none of its texts has a token to take"):
        work(tmp_path, n_texts=0)
