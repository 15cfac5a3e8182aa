"""What is frozen for an uncertainty sweep beside its items: the answered questions that come before them."""

import json
from pathlib import Path
from typing import Any

import pytest

from overnight.datasets.freezing import load_items, prepare_items, shots_path
from overnight.errors import UsageError
from overnight.runs.resolving import resolve
from overnight.spec.config_root import ConfigRoot
from overnight.spec.uncertainty_sweep import UncertaintySweepSpec


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OVERNIGHT_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "datasets").mkdir()
    for name, n_items in (("facts", 12), ("train", 30)):
        rows = [
            {
                "id": f"{name}{n}",
                "question": f"What is {name} {n}?",
                "answers": [str(n)],
                "context": f"It is {n}.",
            }
            for n in range(n_items)
        ]
        for row in rows[: n_items // 3]:
            row["answers"] = []  # the passage does not answer a third of them
        path = tmp_path / "datasets" / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tmp_path / "datasets" / f"{name}.yaml").write_text(f"{{type: open, path: {name}.jsonl}}")
    return tmp_path


def frozen(root: Path, **experiment: Any):
    fields = {"models": ["m"], "datasets": ["facts"], "dry_run": True} | experiment
    model = "{source: /nowhere.gguf, family: f, params_billion: 1, quantization: Q4_0, context_tokens: 512}"
    (root / "models").mkdir(exist_ok=True)
    (root / "models" / "m.yaml").write_text(model)
    spec = UncertaintySweepSpec.model_validate({"name": "t", "experiment": fields})
    path = prepare_items(resolve(spec, ConfigRoot(root)).experiment).path
    shots = shots_path(path, "facts")
    record = json.loads((path / "preparation.json").read_text())
    return load_items([path / "facts.jsonl"]), load_items([shots]) if shots.is_file() else [], record


def test_shots_are_answerable_items_that_are_not_asked(root) -> None:
    items, shots, record = frozen(root, items_per_dataset=4, asking={"shots": 3})
    assert (len(items), len(shots)) == (4, 3)
    assert not {i.item_id for i in items} & {s.item_id for s in shots}
    assert not any(i.is_unanswerable for i in [*items, *shots])
    counted = record["datasets"]["facts"]
    # Every row is accounted for: 12 read, 4 without an answer, 8 left, 4 of them asked.
    assert (counted["n_rows"], counted["n_not_wanted"], counted["n_items"]) == (12, 4, 8)
    assert counted["after_limit_items"] == 4


def test_shots_come_from_the_data_set_that_is_named_for_them(root) -> None:
    items, shots, _ = frozen(root, asking={"shots": 5}, shots_from={"facts": "train"})
    assert len(items) == 8
    assert all(shot.item_id.startswith("train") for shot in shots)
    again = frozen(root, asking={"shots": 2}, shots_from={"facts": "train"})[1]
    assert again == shots[:2]  # fewer shots are the first of more


def test_without_shots_none_are_frozen(root) -> None:
    assert frozen(root, asking={"shots": 0})[1] == []


def test_items_without_an_answer_are_asked_where_that_is_wanted(root) -> None:
    items, _, record = frozen(root, answerable_only=False, asking={"shots": 0})
    assert sum(i.is_unanswerable for i in items) == 4
    assert record["datasets"]["facts"]["n_not_wanted"] == 0


def test_too_few_items_for_shots_is_one_line_with_both_numbers(root) -> None:
    with pytest.raises(UsageError, match=r"dataset facts: experiment\.asking\.shots: 3 are wanted, and 0"):
        frozen(root, asking={"shots": 3})


def test_shots_for_a_data_set_that_is_not_asked_are_a_mistake(root) -> None:
    with pytest.raises(UsageError, match=r"shots_from: 'fact' is no dataset of the experiment"):
        frozen(root, shots_from={"fact": "train"})
