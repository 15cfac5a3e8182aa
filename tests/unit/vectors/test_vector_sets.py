"""Vectors of texts are the same whoever has read them, and are read once."""

import asyncio
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from overnight.activations.answer import ActivationAnswer, Failure, SequenceAnswer
from overnight.activations.request import ActivationRequest, SequenceInput
from overnight.best_of_k.places import PlacesAnswer, PlacesRequest, TextPlaces, TokenPlace
from overnight.best_of_k.positions import positions_of, why_none
from overnight.errors import EngineCrashed, OutOfMemory, StopRequested, StoreError, UsageError
from overnight.records import Item, ItemType
from overnight.runs.vector_sets import key_of, source_of, text_of, vectors_of
from overnight.spec.model import ModelSpec
from overnight.spec.positions import VectorPositions
from overnight.store.cache_listing import cache_entries
from overnight.store.content_store import cache_folder
from overnight.vectors.states import Mode
from overnight.vectors.vector_set import MARKER, VectorSet

D = 24
MODEL = ModelSpec(
    name="m",
    family="smollm2",
    engine="transformers",
    source="path:m",
    quantization="fp32",
    params_billion=0.1,
    context_tokens=512,
    sha256="a" * 64,
)


class FakeEngine:
    """A token is a word; the state of one is drawn from the text up to it, as a causal model's depends on no more."""

    def __init__(self, fails_after: int | None = None) -> None:
        self.requests: list[ActivationRequest] = []
        self.n_asked = 0  # for places
        self.halvings = 0
        self.bad = frozenset[str]()
        self.error_kind = "BadResponse"
        self._fails_after = fails_after

    async def places(self, request: PlacesRequest) -> PlacesAnswer:
        self.n_asked += len(request.sequences)
        request = PlacesRequest.from_json(json.loads(json.dumps(request.to_json())))
        return PlacesAnswer.from_json(
            PlacesAnswer(texts=tuple(_places(each, request.rule) for each in request.sequences)).to_json()
        )

    async def activations(self, request: ActivationRequest) -> ActivationAnswer:
        await asyncio.sleep(0)
        if self._fails_after is not None and len(self.requests) >= self._fails_after:
            raise EngineCrashed("it is gone")
        self.requests.append(request)
        return ActivationAnswer(
            sequences=tuple(self._answer(each, request) for each in request.sequences),
            seconds=0.1,
            n_batches=1,
            halvings=self.halvings,
            largest_probe_difference=None,
        )

    def _answer(self, each: SequenceInput, request: ActivationRequest) -> SequenceAnswer:
        words = _words(each)
        path = request.path_of(each.id)
        is_bad = each.id in self.bad
        if not is_bad:
            states = np.stack([state(words, place) for place in each.places])
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({"placed": states[:, None]}, path)
        return SequenceAnswer(
            id=each.id,
            token_ids=(),
            pieces=(),
            n_prompt=0,
            path=None if is_bad else path,
            error=Failure(self.error_kind, "no numbers") if is_bad else None,
        )


def _words(each: SequenceInput) -> list[str]:
    return (each.text or " ".join(message["content"] for message in each.messages or ())).split()


def state(words: Sequence[str], place: int) -> np.ndarray:
    seed = hashlib.sha256(" ".join(words[: place + 1]).encode()).digest()
    return np.random.default_rng(list(seed)).standard_normal(D).astype(np.float32)


def _places(each: SequenceInput, rule: VectorPositions) -> TextPlaces:
    words = _words(each)
    found = positions_of(rule, len(words), 0, each.id)
    return TextPlaces(
        id=each.id,
        n_tokens=len(words),
        places=tuple(
            TokenPlace(
                position=place,
                token=words[place],
                before=" ".join(words[:place]),
                after=" ".join(words[place + 1 :]),
                role="user" if each.messages else None,
            )
            for place in found
        ),
        why=None if found else why_none(rule, len(words), 0),
    )


def item(number: int, n_words: int = 12, dataset: str = "d", **fields: Any) -> Item:
    text = " ".join(f"w{number}.{place}" for place in range(n_words))
    plain = {"dataset": dataset, "item_id": f"i{number}", "question": text}
    return Item(**{"type": ItemType.CLOSED, "answers": (), **plain, **fields})


ITEMS = [item(number) for number in range(40)]


@pytest.fixture
def make(tmp_path: Path):
    """Return a maker of sets in folders of their own, with one cache."""
    names = iter(range(100))

    def made(items: Sequence[Item] = ITEMS, engines: Any = None, folder: Path | None = None, **fields: Any):
        plain = {
            "folder": folder or tmp_path / f"run{next(names)}",
            "items": items,
            "model": MODEL,
            "layer": 3,
            "positions": VectorPositions(per_sequence=2),
            "max_per_dataset": None,
            "kept": "float32",
            "engines": engines or [FakeEngine()],
        }
        return asyncio.run(vectors_of(**{**plain, **fields}))

    return made


def n_read(*engines: FakeEngine) -> int:
    return sum(
        len(each.places) for engine in engines for request in engine.requests for each in request.sequences
    )


def all_rows(found: VectorSet) -> np.ndarray:
    return np.array(found.rows(0, len(found)))


def test_a_vector_is_the_state_of_its_token_and_says_what_stands_there(make) -> None:
    found = make()
    assert len(found) == len(found.vectors) == 80
    for vector, row in zip(found.vectors, found.rows(0, 80), strict=True):
        words = ITEMS[vector.index // 2].question.split()
        assert (vector.item_id, vector.place) == (f"i{vector.index // 2}", vector.index % 2)
        assert vector.token == words[vector.position]
        assert vector.before.split() == words[: vector.position]
        assert vector.key == key_of(text_of(ITEMS[vector.index // 2]), vector.position)
        assert np.array_equal(row, state(words, vector.position))
    assert [vector.index for vector in found.vectors] == list(range(80))


@pytest.mark.parametrize("kept", ["float32", "bfloat16", "float16"])
def test_other_tools_see_the_vectors_of_a_run(make, kept: str) -> None:
    found = make(kept=kept)
    with safe_open(found.folder / "vectors.safetensors", framework="pt") as file:
        tensor = file.get_tensor("vectors")
    assert str(tensor.dtype) == f"torch.{kept}"
    assert np.array_equal(tensor.float().numpy(), all_rows(found))


@pytest.mark.parametrize("n_engines", [1, 2, 3, 8])
def test_any_number_of_engines_reads_the_same_once(make, n_engines: int, tmp_path: Path, monkeypatch) -> None:
    alone = make(batch=4)
    monkeypatch.setenv("OVERNIGHT_CACHE_DIR", str(tmp_path / "another"))
    engines = [FakeEngine() for _ in range(n_engines)]
    together = make(engines=engines, batch=4)
    assert n_read(*engines) == together.n_read == 80
    assert sum(len(engine.requests) for engine in engines) == 10
    assert all(engine.requests for engine in engines)
    assert together.vectors == alone.vectors
    assert np.array_equal(all_rows(together), all_rows(alone))
    # What one wrote the others find, whoever reads: nothing of a store is of the number of engines.
    again = FakeEngine()
    assert make(engines=[again], batch=7).was_cached
    assert again.requests == []


def test_a_text_is_passed_once_however_many_positions_it_has(make) -> None:
    engine = FakeEngine()
    make(engines=[engine], positions=VectorPositions(per_sequence=5))
    assert sum(len(request.sequences) for request in engine.requests) == len(ITEMS)
    assert n_read(engine) == 5 * len(ITEMS)


def test_fewer_texts_or_positions_are_found_and_more_are_added(make) -> None:
    # A subset of what is kept is a hit, whatever the count, the order and the other texts.
    make()
    engine = FakeEngine()
    assert make(ITEMS[10:20][::-1], [engine]).was_cached
    assert make(engines=[engine], positions=VectorPositions(per_sequence=1)).was_cached
    assert make(engines=[engine], max_per_dataset=7).was_cached
    assert engine.requests == []
    more = make([*ITEMS, item(40)], [engine], positions=VectorPositions(per_sequence=3))
    assert more.n_read == n_read(engine) == 40 + 3
    assert {len(each.places) for request in engine.requests for each in request.sequences} == {1, 3}


@pytest.mark.parametrize(
    "change",
    [{"layer": 4}, {"kept": "bfloat16"}, {"model": MODEL.model_copy(update={"sha256": "b" * 64})}],
)
def test_another_model_layer_or_kind_of_number_is_read_anew(make, change: dict[str, Any]) -> None:
    make()
    assert make(**change).n_read == 80


def test_the_first_vectors_of_each_dataset_are_taken(make) -> None:
    items = [*ITEMS[:5], *(item(number, dataset="e") for number in range(5))]
    found = make(items, max_per_dataset=3)
    assert [(v.dataset, v.item_id, v.place) for v in found.vectors] == [
        (dataset, name, place) for dataset in "de" for name, place in (("i0", 0), ("i0", 1), ("i1", 0))
    ]
    assert found.n_read == 3  # the texts of both are the same


def test_texts_that_are_too_short_are_left_out_and_said(make) -> None:
    found = make([item(0, n_words=5), item(1, n_words=6), item(2)])
    assert [vector.item_id for vector in found.vectors] == ["i1", "i2", "i2"]
    assert found.left_out == (
        {
            "dataset": "d",
            "item_id": "i0",
            "why": "it has 5 tokens, and 5 come before the first that may be taken",
        },
    )
    with pytest.raises(UsageError, match="no text has a token that may be taken; the first: it has 5 tokens"):
        make([item(0, n_words=5)])


def test_a_conversation_is_read_as_one_and_apart_from_a_text_that_reads_alike(make) -> None:
    turns = (("user", "a b c d"), ("assistant", "e f g h"))
    chat, text = item(0, turns=turns), item(1, question="a b c d e f g h")
    source = source_of(chat)
    assert source.is_whole
    assert [message["role"] for message in source.messages or ()] == ["user", "assistant"]
    found = make([chat, text])
    assert [vector.role for vector in found.vectors] == ["user", "user", None, None]
    assert len({vector.key for vector in found.vectors}) == 4


def test_a_text_whose_states_are_no_numbers_is_left_out(make) -> None:
    engine = FakeEngine()
    engine.bad = frozenset({text_of(ITEMS[1])})
    found = make(engines=[engine])
    assert len(found) == 78
    assert [vector.index for vector in found.vectors] == list(range(78))
    assert found.left_out == ({"dataset": "d", "item_id": "i1", "why": "no numbers"},) * 2


def test_a_text_that_does_not_fit_alone_ends_it_and_what_was_read_stays(make) -> None:
    engine = FakeEngine()
    engine.bad, engine.error_kind = frozenset({text_of(ITEMS[39])}), "OutOfMemory"
    with pytest.raises(OutOfMemory, match="no numbers"):
        make(engines=[engine], batch=8)
    kept = n_read(engine) - 2
    engine = FakeEngine()
    assert make(engines=[engine]).n_read == 80 - kept


def test_what_was_read_before_an_engine_was_gone_is_not_read_again(make) -> None:
    with pytest.raises(EngineCrashed, match="it is gone"):
        make(engines=[FakeEngine(fails_after=3)], batch=4)
    assert make(batch=4).n_read == 80 - 3 * 4 * 2


def test_a_run_that_is_stopped_goes_on_where_it_was(make) -> None:
    looks = iter([False, False, False, True])
    with pytest.raises(StopRequested):
        make(should_stop=lambda: next(looks), batch=4)
    assert make(batch=4).n_read == 80 - 2 * 4 * 2  # one look was for the tokens


def test_a_set_that_is_there_asks_nobody(make, tmp_path: Path) -> None:
    first = make(folder=tmp_path / "v")
    shutil.rmtree(cache_folder())
    engine = FakeEngine()
    again = make(folder=tmp_path / "v", engines=[engine], mode=Mode.FORCE)
    assert (engine.n_asked, engine.requests) == (0, [])
    assert np.array_equal(all_rows(again), all_rows(first))
    # Another rule is another set.
    other = make(folder=tmp_path / "v", engines=[engine], positions=VectorPositions(policy="last"))
    assert len(other) == 40


@pytest.mark.parametrize("name", ["vectors.jsonl", "left_out.jsonl", "vectors.safetensors", MARKER])
def test_a_set_that_was_changed_is_refused_and_made_anew(make, tmp_path: Path, name: str) -> None:
    rows = all_rows(make([*ITEMS, item(50, n_words=2)], folder=tmp_path / "v"))
    path = tmp_path / "v" / name
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match="v/"):
        _ = VectorSet.read(tmp_path / "v").rows(0, 1), VectorSet.read(tmp_path / "v").vectors
    again = make([*ITEMS, item(50, n_words=2)], folder=tmp_path / "v")
    assert again.was_cached
    assert np.array_equal(all_rows(again), rows)


def test_a_set_without_its_marker_is_none(make, tmp_path: Path) -> None:
    # It is written last: a run that was killed half way has none.
    make(folder=tmp_path / "v")
    (tmp_path / "v" / MARKER).unlink()
    with pytest.raises(StoreError):
        VectorSet.read(tmp_path / "v")
    assert len(make(folder=tmp_path / "v")) == 80


def test_modes_say_whether_what_is_kept_is_used(make) -> None:
    with pytest.raises(UsageError, match="80 of 80 states are not there"):
        make(mode=Mode.READ_ONLY)
    make()
    assert make(mode=Mode.READ_ONLY).was_cached
    assert make(mode=Mode.FORCE).n_read == 80


def test_states_that_the_kind_of_number_does_not_hold_are_refused(make, monkeypatch) -> None:
    monkeypatch.setattr(f"{__name__}.state", lambda words, place: np.full(D, 1e6, np.float32))
    with pytest.raises(UsageError, match=r"experiment\.kept: .* more than float16 holds; keep bfloat16"):
        make(kept="float16")


def test_a_set_says_how_often_batches_were_halved(make) -> None:
    engine = FakeEngine()
    engine.halvings = 1
    assert make(engines=[engine], batch=20).halvings == 2
    assert make(engines=[engine]).halvings == 0


def test_the_store_is_listed_as_states(make) -> None:
    make()
    (entry,) = cache_entries(cache_folder(), ["states"])
    assert entry.bytes > 80 * D * 4
