"""Small run folders with whatever scores a test wants."""

import csv
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from overnight.datasets.freezing import write_items
from overnight.ids import custom_id, text_digest
from overnight.records import Condition, Item, ItemType
from overnight.runs.tables import PREDICTION_COLUMNS, SCORE_COLUMNS
from overnight.store.files import atomic_writer, write_text
from overnight.store.manifest import RunManifest, TrialRecord, TrialState, seal, write_manifest
from overnight.store.run_folder import RunFolder, TrialFolder

Scores = Mapping[str, float]  # exact match by item id


def questions(n: int = 12, ids: str = "q{}") -> list[Item]:
    return [
        Item(
            dataset="quiz",
            item_id=ids.format(i),
            type=ItemType.CLOSED,
            question=f"Which number comes after {i}?",
            answers=(str(i + 1),),
        )
        for i in range(n)
    ]


def right(items: list[Item], n: int) -> Scores:
    """Return scores of which the first n are right."""
    return {item.item_id: float(i < n) for i, item in enumerate(items)}


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunFolder]:
    """Return a function that writes a run: by prompt set the exact match of control and of treatment."""

    def make(
        run_id: str,
        trials: Mapping[str, tuple[Scores, Scores]],
        items: list[Item],
        *,
        model: str = "tiny",
        digest: str = "d" * 64,
        state: TrialState = TrialState.DONE,
        temperature: float = 0.0,
        config: Mapping[str, Any] | None = None,
        reply: str = "it is",
    ) -> RunFolder:
        folder = RunFolder(tmp_path / f"run_{run_id}")
        write_items(folder.items("quiz"), items)
        write_text(
            folder.effective_config, yaml.safe_dump(config or {"name": "s", "experiment": {"seed": 1}})
        )
        records = {}
        for prompt_set, (control, treatment) in trials.items():
            slug = f"{model}-{prompt_set}-tp1-tk50-mx32-32-00000000"
            trial = folder.trial(slug)
            arms = {Condition.CONTROL: control, Condition.TREATMENT: treatment}
            _write_scores(trial, items, arms, temperature)
            _write_predictions(trial, items, temperature, reply)
            records[slug] = TrialRecord(
                state=state,
                fingerprint="e" * 64,
                requested={
                    "model": model,
                    "model_digest": digest,
                    "quantization": "Q4_1",
                    "engine": "llama_cpp",
                    "prompt_set": prompt_set,
                    "prompt_digests": {"control": text_digest("c"), "treatment": text_digest(prompt_set)},
                    "temps": [temperature],
                },
                effective={
                    "model": model,
                    "model_digest": digest,
                    "quantization": "Q4_1",
                    "engine": "llama_cpp",
                },
                artifacts=dict([seal(folder.path, trial.scores)]),
            )
        now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        write_manifest(
            folder,
            RunManifest(
                run_id=run_id,
                kind="prompt-sweep",
                name="s",
                fingerprint="f" * 64,
                created=now,
                updated=now,
                execution={},
                environment={},
                items=dict([seal(folder.path, folder.items("quiz"))]),
                trials=records,
            ),
        )
        return folder

    return make


def _write_scores(
    trial: TrialFolder, items: list[Item], arms: Mapping[Condition, Scores], temperature: float
) -> None:
    with atomic_writer(trial.scores) as file:
        rows = csv.DictWriter(file, SCORE_COLUMNS)
        rows.writeheader()
        for item in items:
            for condition, scores in arms.items():
                if item.item_id not in scores:
                    continue
                em = scores[item.item_id]
                rows.writerow(
                    {
                        "dataset": item.dataset,
                        "item_key": item.key,
                        "type": item.type.value,
                        "condition": condition.value,
                        "temp": repr(temperature),
                        "em": em,
                        "f1": em,
                        "abstain_rate": 0.0,
                        "n_samples": 1,
                        "empty_rate": 0.0,
                    }
                )


def _write_predictions(trial: TrialFolder, items: list[Item], temperature: float, reply: str) -> None:
    with atomic_writer(trial.predictions) as file:
        rows = csv.DictWriter(file, PREDICTION_COLUMNS)
        rows.writeheader()
        for item in items:
            for condition in Condition:
                rows.writerow(
                    {
                        "custom_id": custom_id(item.key, condition.value, temperature, 0, item.type.value),
                        "dataset": item.dataset,
                        "item_id": item.item_id,
                        "condition": condition.value,
                        "temp": repr(temperature),
                        "sample_index": 0,
                        "type": item.type.value,
                        "finish_reason": "stop",
                        "response_text": reply,
                    }
                )


@pytest.fixture
def items() -> list[Item]:
    return questions()


@pytest.fixture
def first_right() -> Callable[[list[Item], int], Scores]:
    return right


@pytest.fixture
def make_questions() -> Callable[..., list[Item]]:
    return questions
