"""A small finished uncertainty sweep, its numbers written by the project's own writers."""

import base64
import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from overnight.report.uncertainty.auroc_results import write_auroc_results
from overnight.store.files import atomic_writer, write_json, write_text
from overnight.store.manifest import (
    Energy,
    RunManifest,
    Timings,
    TrialCounts,
    TrialRecord,
    TrialState,
    write_manifest,
)
from overnight.store.run_folder import RunFolder
from overnight.uncertainty.analysing import analyse
from overnight.uncertainty.analysis import Analysis, AnalysisSettings
from tests.unit.uncertainty.trials import made_up, model

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MODEL = {
    "name": "tiny",
    "source": "/nowhere/tiny.gguf",
    "sha256": "a" * 64,
    "family": "f",
    "params_billion": 0.1,
    "quantization": "Q4_0",
    "context_tokens": 2048,
    "instruct": True,
}


def write_run(
    folder: RunFolder, *, tracking: dict[str, Any] | None = None, dry_run: bool = False
) -> Analysis:
    """Write a run of two trials of 24 items, one done, one failed, and return its analysis."""
    facts = model("tiny", "f", 1e8)
    trials = [
        made_up(facts, dataset, seed=seed, n=24, signal=1.5)
        for seed, dataset in enumerate(("facts", "passages"))
    ]
    analysis = analyse(trials, AnalysisSettings(n_resamples=50), run_id=folder.run_id, experiment="small")
    write_auroc_results(folder.path, analysis)
    write_json(folder.plan, {})
    sweep = {
        "kind": "uncertainty-sweep",
        "name": "small",
        "experiment": {
            "models": [MODEL],
            "datasets": [
                {"name": name, "type": "closed", "path": f"/nowhere/{name}.jsonl", "sha256": "c" * 64}
                for name in ("facts", "passages")
            ],
            "dry_run": dry_run,
        },
        "execution": {"tracking": tracking or {}},
    }
    write_text(folder.effective_config, yaml.safe_dump(sweep))
    for name in ("auroc_heatmap", "roc_curves"):
        folder.figures.mkdir(exist_ok=True)
        (folder.figures / f"{name}.png").write_bytes(PNG)
        (folder.figures / f"{name}.pdf").write_bytes(b"%PDF")
    records = {}
    for number, one in enumerate(trials):
        _write_table(folder.trial(one.slug).uncertainty, one)
        records[one.slug] = TrialRecord(
            state=TrialState.FAILED if number else TrialState.DONE,
            fingerprint=str(number) * 64,
            requested={"model": "tiny", "dataset": one.dataset, "temps": [0.0]},
            counts=TrialCounts(expected=24, done=24, generated_tokens=120),
            timings=Timings(inference_s=8.0, started=NOW, ended=NOW + timedelta(seconds=10)),
            energy=Energy(undefined_because="no GPU") if number else Energy(joules=33.5),
        )
    records["never-begun"] = TrialRecord(fingerprint="9" * 64, requested={"model": "tiny"})
    write_manifest(
        folder,
        RunManifest(
            run_id=folder.run_id,
            kind="uncertainty-sweep",
            name="small",
            fingerprint="f" * 64,
            state=TrialState.DONE,
            created=NOW,
            updated=NOW,
            execution={},
            environment={"python": "3.11"},
            items={},
            blocks={},
            trials=records,
        ),
    )
    return analysis


def _write_table(path: Path, trial: Any) -> None:
    with atomic_writer(path) as file:
        table = csv.writer(file)
        measures = trial.measures.names
        table.writerow(["dataset", "item_key", "finish_reason", *measures, "label_f1"])
        for row, key in enumerate(trial.measures.item_keys):
            values = [trial.measures.column(name).cells[row].value for name in measures]
            right = trial.labels.column("f1").cells[row].value
            # The last answer is empty: it has no measure.
            is_empty = row == len(trial.measures.item_keys) - 1
            table.writerow(
                [trial.dataset, key, "stop", *([""] * len(values) if is_empty else values), int(right)]
            )
