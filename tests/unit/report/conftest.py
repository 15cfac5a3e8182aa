"""Small run folders, written by the project's own writers."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from overnight.datasets.freezing import write_items
from overnight.ids import custom_id, text_digest
from overnight.records import Condition, Item, ItemType
from overnight.runs.comparing import compare_trial, write_significance
from overnight.runs.costing import write_costs
from overnight.runs.tables import PREDICTION_COLUMNS, SCORE_COLUMNS
from overnight.spec.pricing import PricingSpec
from overnight.spec.prompt_sweep import StatisticsSpec
from overnight.store.files import atomic_writer, write_json, write_text
from overnight.store.manifest import (
    BlockRecord,
    RunManifest,
    Timings,
    TrialCounts,
    TrialRecord,
    TrialState,
    seal,
    write_manifest,
)
from overnight.store.run_folder import RunFolder, TrialFolder

PROMPTS = {
    "control": "You answer questions.",
    "treatment": "You answer questions in as few words as you can.",
}
Replies = Mapping[tuple[str, Condition], tuple[str, float]]  # (item id, arm) -> (reply, exact match)


@dataclass
class TrialToWrite:
    """A trial of a run folder; without replies it has no tables."""

    prompt_set: str
    replies: Replies | None = None
    state: TrialState = TrialState.DONE
    error: str | None = None
    engine: str = "llama_cpp"
    n_truncated: int = 0
    effective: dict[str, Any] | None = field(default_factory=lambda: {"quantization": "Q4_1", "slots": 4})


@pytest.fixture
def trial() -> type[TrialToWrite]:
    """Return the class, since tests cannot import this module."""
    return TrialToWrite


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunFolder]:
    """Return a function that writes a run folder."""

    def make(trials: list[TrialToWrite], items: list[Item], detectable: float | None = 0.2) -> RunFolder:
        folder = RunFolder(tmp_path / "run_r1")
        datasets = list(dict.fromkeys(item.dataset for item in items))
        for name in datasets:
            write_items(folder.items(name), [item for item in items if item.dataset == name])
        slugs = {f"tiny-{t.prompt_set}-tp1-tk50-mx32-32-{i:08d}": t for i, t in enumerate(trials)}
        write_json(
            folder.plan,
            {
                "smallest_detectable_difference_em": {item.type.value: detectable for item in items},
                "blocks": [{"trials": [{"slug": slug} for slug in slugs]}],
            },
        )
        sets = [{"name": t.prompt_set, **PROMPTS} for t in trials]
        write_text(
            folder.effective_config,
            yaml.safe_dump({"description": "a test", "experiment": {"sweep": {"prompt_sets": sets}}}),
        )
        now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        write_manifest(
            folder,
            RunManifest(
                run_id="r1",
                kind="prompt-sweep",
                name="small",
                fingerprint="f" * 64,
                state=TrialState.DONE,
                created=now,
                updated=now,
                execution={"max_concurrent_requests": 4},
                environment={"cpu": "a cpu", "cores": 2, "python": "3.11.7", "gpus": None, "git": None},
                items=dict(seal(folder.path, folder.items(name)) for name in datasets),
                blocks={"tiny": BlockRecord(model="tiny", digest="d" * 64, loads=1, restarts=2, load_s=0.5)},
                trials={slug: _record(trial, len(items)) for slug, trial in slugs.items()},
            ),
        )
        statistics = StatisticsSpec(resamples=200)
        compared = {}
        for slug, trial in slugs.items():
            if trial.replies is not None:
                _write_tables(folder.trial(slug), trial.replies, items)
                write_costs(folder.trial(slug), PricingSpec(), 2.0)
                compared[slug] = compare_trial(folder, slug, statistics)
        write_significance(folder, compared, statistics)
        return folder

    return make


def _record(trial: TrialToWrite, n_items: int) -> TrialRecord:
    n = 2 * n_items if trial.replies is not None else 0
    return TrialRecord(
        state=trial.state,
        error=trial.error,
        fingerprint="e" * 64,
        requested={
            "model": "tiny",
            "quantization": "Q4_1",
            "engine": trial.engine,
            "prompt_set": trial.prompt_set,
            "prompt_digests": {arm: text_digest(text) for arm, text in PROMPTS.items()},
            "temps": [0.0],
            "top_p": 1.0,
            "top_k": 50,
            "max_new_tokens": {"closed": 32, "open": 32},
            "samples_per_item": 1,
            "seed": 2025,
            "stop": [],
        },
        effective=trial.effective if trial.replies is not None else None,
        counts=TrialCounts(expected=2 * n_items, done=n, truncated=trial.n_truncated),
        timings=Timings(inference_s=2.0 if n else None),
    )


def _write_tables(folder: TrialFolder, replies: Replies, items: list[Item]) -> None:
    with atomic_writer(folder.predictions) as p, atomic_writer(folder.scores) as s:
        predictions, scores = csv.DictWriter(p, PREDICTION_COLUMNS), csv.DictWriter(s, SCORE_COLUMNS)
        predictions.writeheader()
        scores.writeheader()
        for item in items:
            for arm in Condition:
                if (item.item_id, arm) not in replies:
                    continue
                text, em = replies[item.item_id, arm]
                same = {
                    "dataset": item.dataset,
                    "condition": arm.value,
                    "temp": "0.0",
                    "type": item.type.value,
                }
                predictions.writerow(
                    {
                        **same,
                        "custom_id": custom_id(item.key, arm.value, 0.0, 0, item.type.value),
                        "item_id": item.item_id,
                        "sample_index": 0,
                        "request_id": "q",
                        "finish_reason": "stop",
                        "response_text": text,
                        "prompt_tokens": 10,
                        "completion_tokens": 5,
                        "total_tokens": 15,
                    }
                )
                scores.writerow(
                    {
                        **same,
                        "item_key": item.key,
                        "em": em,
                        "f1": em,
                        "abstain_rate": float(text == "I do not know."),
                        "n_samples": 1,
                        "empty_rate": 0.0,
                    }
                )


@pytest.fixture
def questions() -> list[Item]:
    """Return twelve closed items."""
    return [
        Item(
            dataset="quiz",
            item_id=f"q{i:02d}",
            type=ItemType.CLOSED,
            question=f"Question {i}?",
            answers=("gold",),
        )
        for i in range(12)
    ]


@pytest.fixture
def better_replies(questions: list[Item]) -> Replies:
    """Return replies of which all are right in treatment, two in control."""
    return {
        (item.item_id, arm): ("gold", 1.0) if arm is Condition.TREATMENT or i < 2 else ("lead", 0.0)
        for i, item in enumerate(questions)
        for arm in Condition
    }
