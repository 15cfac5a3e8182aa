import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overnight.datasets.counting import DatasetCount
from overnight.datasets.freezing import content_id, load_items, prepare_items, write_items
from overnight.errors import StoreError, UsageError
from overnight.ids import file_digest
from overnight.records import AnswerRule, Item, ItemType
from overnight.runs.opening import create_run
from overnight.spec.dataset import DatasetSpec
from overnight.spec.run_options import RunOptions
from overnight.store.content_store import Entry

CLOSED = {"id": "q1", "question": "How many?", "answers": ["four"]}


def lines(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def dataset(tmp_path: Path, content: bytes, name: str = "facts", **fields: Any) -> DatasetSpec:
    path = tmp_path / f"{name}.jsonl"
    path.write_bytes(content)
    return DatasetSpec(name=name, path=path, **fields)


@settings(max_examples=40)
@given(st.text(st.characters(exclude_categories=())), st.text(st.characters(exclude_categories=())))
def test_frozen_items_read_back(tmp_path_factory: pytest.TempPathFactory, question: str, answer: str) -> None:
    path = tmp_path_factory.getbasetemp() / "frozen.jsonl"
    item = Item(
        dataset="d", item_id="ü|1", type=ItemType.OPEN, question=question, answers=(answer,), context="c"
    )
    write_items(path, [item, item])
    assert load_items([path]) == [item, item]


@pytest.mark.parametrize("line", ["{}", "[]", "null", "{", '{"dataset": "d"}'])
def test_a_frozen_file_that_was_changed_is_refused_by_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "frozen.jsonl"
    item = Item(dataset="d", item_id="1", type=ItemType.CLOSED, question="q", answers=("a",))
    write_items(path, [item])
    path.write_text(path.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    with pytest.raises(StoreError, match=r"frozen\.jsonl:2: not a frozen item"):
        load_items([path])


def test_the_content_id_is_that_of_the_question_not_of_its_name() -> None:
    item = Item(dataset="d", item_id="1", type=ItemType.CLOSED, question="q", answers=("a",))
    renamed = Item(dataset="e", item_id="2", type=ItemType.CLOSED, question="q", answers=("a",))
    another = Item(dataset="d", item_id="1", type=ItemType.CLOSED, question="q", answers=("b",))
    assert content_id(item) == content_id(renamed) != content_id(another)


def pinned(spec: DatasetSpec) -> dict[str, Any]:
    digest = spec.sha256 or (file_digest(spec.path) if spec.path and spec.path.is_file() else None)
    return spec.model_copy(update={"sha256": digest}).model_dump()


def frozen(make_spec: Callable[..., Any], *specs: DatasetSpec, **fields: Any) -> Entry:
    return prepare_items(make_spec(datasets=[pinned(spec) for spec in specs], **fields).experiment)


def test_items_are_frozen_once_for_the_same_file_limit_and_seed(tmp_path: Path, make_spec: Any) -> None:
    spec = dataset(tmp_path, lines(*(CLOSED | {"id": str(n)} for n in range(9))))
    first, again = frozen(make_spec, spec, limit_items=4), frozen(make_spec, spec, limit_items=4)
    assert (first.was_cached, again.was_cached) == (False, True)
    assert first.path == again.path
    assert len(load_items([first.path / "facts.jsonl"])) == 4


def test_another_limit_seed_or_file_is_frozen_anew(tmp_path: Path, make_spec: Any) -> None:
    spec = dataset(tmp_path, lines(*(CLOSED | {"id": str(n)} for n in range(9))))
    keys = {
        frozen(make_spec, spec, limit_items=4).key,
        frozen(make_spec, spec, limit_items=5).key,
        frozen(make_spec, spec, limit_items=4, sampling={"seed": 1}).key,
        frozen(make_spec, dataset(tmp_path, lines(CLOSED, CLOSED | {"id": "q2"})), limit_items=4).key,
    }
    assert len(keys) == 4


def test_a_file_that_is_not_the_one_of_its_digest_is_not_frozen(tmp_path: Path, make_spec: Any) -> None:
    # It would stand in the cache under the digest of other questions.
    spec = dataset(tmp_path, lines(CLOSED)).model_copy(update={"sha256": "0" * 64})
    with pytest.raises(UsageError, match=f"dataset facts: sha256: {'0' * 64} is wanted"):
        frozen(make_spec, spec)


def test_no_items_at_all_is_an_error_that_names_the_key(tmp_path: Path, make_spec: Any) -> None:
    with pytest.raises(UsageError, match=r"experiment\.limit_items: 0 leaves none of 1 items"):
        frozen(make_spec, dataset(tmp_path, lines(CLOSED)), limit_items=0)


def counts(entry: Entry) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((entry.path / "preparation.json").read_text(encoding="utf-8"))
    return record


def numbered(n: int, name: str = "q") -> bytes:
    return lines(*(CLOSED | {"id": f"{name}{k}"} for k in range(n)))


def test_every_row_is_accounted_for(tmp_path: Path, make_spec: Any) -> None:
    # NQ-Open rows have no ids: 7 rows, of which one says again what another said, are 6 items; capped at 5, and 4
    # of the 5 + 10 are wanted: 4 * 5 / 15 = 1.33 and 4 * 10 / 15 = 2.67, by largest remainder 1 and 3.
    rows = [{"question": f"how many are {n}", "answer": ["four"]} for n in range(6)]
    public = dataset(tmp_path, lines(*rows, rows[2]), "public", format="nq_open", max_items=5)
    own = dataset(tmp_path, numbered(10), "own")
    entry = frozen(make_spec, public, own, limit_items=4)
    record = counts(entry)
    assert {key: record[key] for key in ("n_rows", "n_items", "after_max_items", "after_limit_items")} == {
        "n_rows": 17,
        "n_items": 16,
        "after_max_items": 15,
        "after_limit_items": 4,
    }
    steps = ("n_rows", "n_duplicates", "n_items", "after_max_items", "after_limit_items")
    assert [record["datasets"]["public"][step] for step in steps] == [7, 1, 6, 5, 1]
    assert [record["datasets"]["own"][step] for step in steps] == [10, 0, 10, 10, 3]
    assert len(load_items([entry.path / "public.jsonl", entry.path / "own.jsonl"])) == 4


def test_counts_that_do_not_add_up_are_an_error() -> None:
    count = DatasetCount(
        dataset="d",
        source="d.jsonl",
        format="items",
        rule="squad",
        max_items=5,
        n_rows=9,
        n_duplicates=1,
        n_blank_answers=0,
        n_items=8,
        after_max_items=4,
    )
    with pytest.raises(UsageError, match="dataset d: 4 items after max_items, 5 were expected"):
        count.require_sums()


def test_a_cap_of_zero_is_no_items_and_not_all(tmp_path: Path, make_spec: Any) -> None:
    # The original took 0 for "no cap", and asked 11,873 questions that were meant to be switched off.
    off = dataset(tmp_path, numbered(3), "off", max_items=0)
    entry = frozen(make_spec, off, dataset(tmp_path, numbered(4), "on"))
    assert load_items([entry.path / "off.jsonl"]) == []
    assert len(load_items([entry.path / "on.jsonl"])) == 4
    assert counts(entry)["datasets"]["off"]["note"].startswith("max_items is 0")


def test_a_dataset_that_is_switched_off_need_not_be_there(tmp_path: Path, make_spec: Any) -> None:
    off = DatasetSpec(name="off", path=tmp_path / "gone.jsonl", max_items=0)
    entry = frozen(make_spec, off, dataset(tmp_path, numbered(4), "on"))
    assert counts(entry)["datasets"]["off"]["n_rows"] == 0


def test_every_dataset_switched_off_is_an_error_that_names_the_key(tmp_path: Path, make_spec: Any) -> None:
    with pytest.raises(UsageError, match=r"experiment\.datasets: max_items is 0 for all of facts"):
        frozen(make_spec, dataset(tmp_path, numbered(2), max_items=0))


def kept_ids(entry: Entry, name: str) -> list[str]:
    return [item.item_id for item in load_items([entry.path / f"{name}.jsonl"])]


def test_a_cap_is_a_seeded_sample_and_no_prefix(tmp_path: Path, make_spec: Any) -> None:
    # 20 of 100: the chance of drawing the first twenty is below 1e-20.
    spec = dataset(tmp_path, numbered(100), max_items=20)
    one = kept_ids(frozen(make_spec, spec), "facts")
    other = kept_ids(frozen(make_spec, spec, sampling={"seed": 1}), "facts")
    assert len(one) == len(other) == 20
    assert one != [f"q{n}" for n in range(20)]
    assert set(one) != set(other)


@pytest.mark.parametrize("limit", [None, 3, 7, 20])
def test_a_cap_keeps_the_share_of_unanswerable_items(
    tmp_path: Path, make_spec: Any, limit: int | None
) -> None:
    # 40 answerable and 20 not, capped at 12: 8 and 4. A limit below the cap draws from those twelve.
    row = CLOSED | {"context": "There are four."}
    rows = [row | {"id": str(n), "answers": [] if n % 3 == 0 else ["four"]} for n in range(60)]
    capped = frozen(make_spec, dataset(tmp_path, lines(*rows), type="open", max_items=12))
    both = frozen(make_spec, dataset(tmp_path, lines(*rows), type="open", max_items=12), limit_items=limit)
    assert sum(item.is_unanswerable for item in load_items([capped.path / "facts.jsonl"])) == 4
    assert len(kept_ids(both, "facts")) == min(12, limit or 12)
    assert set(kept_ids(both, "facts")) <= set(kept_ids(capped, "facts"))


def test_another_answer_rule_is_another_entry_with_the_same_items(tmp_path: Path, make_spec: Any) -> None:
    spec = dataset(tmp_path, numbered(2))
    other = spec.model_copy(update={"rule": AnswerRule.NUMERIC})
    one, two = frozen(make_spec, spec), frozen(make_spec, other)
    assert one.key != two.key
    assert kept_ids(one, "facts") == kept_ids(two, "facts")
    assert {item.rule for item in load_items([two.path / "facts.jsonl"])} == {AnswerRule.NUMERIC}


def test_a_run_keeps_the_counts_beside_its_items(tmp_path: Path, make_spec: Any) -> None:
    spec = make_spec(datasets=[pinned(dataset(tmp_path, numbered(5), max_items=3))])
    folder = create_run(spec, RunOptions(experiments_dir=tmp_path / "experiments", run_id="r1"))
    record = json.loads(folder.preparation.read_text(encoding="utf-8"))
    assert record["datasets"]["facts"]["after_max_items"] == 3
