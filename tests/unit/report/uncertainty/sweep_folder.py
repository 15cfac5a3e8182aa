"""The folder of an uncertainty sweep whose answers were made up, written by the project's own writers."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from overnight.datasets.freezing import shots_path, write_items
from overnight.ids import custom_id
from overnight.planning.plan import Plan, plan_record
from overnight.planning.uncertainty_trials import UncertaintyTrial
from overnight.records import Condition, Item, ItemType
from overnight.report.uncertainty.auroc_results import write_auroc_results
from overnight.report.uncertainty.summary import write_summary
from overnight.runs.costing import write_costs
from overnight.runs.opening import config_text, load_plan
from overnight.runs.parsing import write_predictions
from overnight.runs.relating import write_relevance
from overnight.runs.scoring import write_scores
from overnight.runs.uncertainty_analysing import analysis_of, measured_slugs
from overnight.runs.uncertainty_measuring import write_measures
from overnight.spec.pricing import PricingSpec
from overnight.spec.prompt_sweep import UnsupportedSpec
from overnight.spec.uncertainty_sweep import UncertaintySweepSpec
from overnight.store.files import write_json, write_text
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
from overnight.store.run_folder import RunFolder
from overnight.uncertainty.relevance import Pair

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DATASETS = ("facts", "passages")
Reply = tuple[str, Sequence[tuple[str, float]]]  # text, tokens with their log-probabilities


class WordsShared:
    """A similarity that counts: the share of characters that the shorter text has of the longer one."""

    name = "words-shared"
    revision = "0123456789ab"

    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        return [min(len(p.one), len(p.other)) / max(len(p.one), len(p.other), 1) for p in pairs]


def model(
    name: str, *, family: str = "Alder", billion: float = 0.135, quantization: str = "fp16"
) -> dict[str, Any]:
    return {
        "name": name,
        "source": f"/nowhere/{name}.gguf",
        "sha256": "a" * 64,
        "family": family,
        "params_billion": billion,
        "quantization": quantization,
        "context_tokens": 4096,
        "instruct": True,
    }


MODELS = (
    model("small-a"),
    model("small-a-int8", quantization="int8"),
    model("large-a", billion=1.5),
    model("large-b", family="Birch", billion=1.5),
)


def items_of(dataset: str, n: int) -> list[Item]:
    is_open = dataset == "passages"
    return [
        Item(
            dataset=dataset,
            item_id=f"i{number:03}",
            type=ItemType.OPEN if is_open else ItemType.CLOSED,
            question=f"Which town has the number {number}?",
            answers=(f"Town {number}", f"the town of number {number}"),
            context=f"The town with the number {number} is called Town {number}." if is_open else None,
        )
        for number in range(n)
    ]


def made_up(seed: int, *, signal: float, accuracy: float) -> Callable[[Item], Reply]:
    """Return a model: right with some probability, and more surprised where it is wrong."""
    rng = np.random.default_rng(seed)

    def reply(item: Item) -> Reply:
        is_right = rng.random() < accuracy
        number = int(item.item_id[1:])
        words = ["Town", f" {number}"] if is_right else ["City", f" {number + 7}"]
        if rng.random() < 0.3:  # a sentence: no exact match, and an F1 of 2/3 where it is right
            words = ["Look", " for", *[" " + word.strip() for word in words]]
        level = np.exp(rng.normal(-1.0 + (0.0 if is_right else 0.6 * signal), 0.6))
        logprobs = [-float(level * rng.uniform(0.5, 1.5)) for _ in words]
        return "".join(words), list(zip(words, logprobs, strict=True))

    return reply


def spec_of(models: Sequence[Mapping[str, Any]] = MODELS, **experiment: Any) -> UncertaintySweepSpec:
    datasets = [
        {
            "name": name,
            "type": "open" if name == "passages" else "closed",
            "path": f"/nowhere/{name}.jsonl",
            "sha256": "c" * 64,
        }
        for name in DATASETS
    ]
    return UncertaintySweepSpec.model_validate(
        {
            "name": "made-up",
            "description": "a test",
            "experiment": {
                "models": list(models),
                "datasets": datasets,
                "asking": {"style": "short", "shots": 2},
                "max_new_tokens": 32,
                "relevance": {
                    "name": "words-shared",
                    "kind": "sentence-embedding",
                    "source": "/nowhere/words-shared",
                    "sha256": "b" * 64,
                },
                "statistics": {"resamples": 100},
                **experiment,
            },
        }
    )


def write_sweep(
    path: Path,
    spec: UncertaintySweepSpec,
    replies: Mapping[tuple[str, str], Callable[[Item], Reply | None]],
    *,
    n_items: int,
    change: Callable[[Item], Item] = lambda item: item,
) -> RunFolder:
    """Write a run; a trial without replies never began, and an item without a reply failed."""
    folder = RunFolder(path)
    for dataset in DATASETS:
        write_items(folder.items(dataset), map(change, items_of(dataset, n_items)))
        write_items(shots_path(folder.items_folder, dataset), items_of(dataset, n_items + 2)[-2:])
    write_text(folder.effective_config, config_text(spec))
    plan = load_plan(folder, spec)
    write_json(folder.plan, plan_record(plan, None, {}, None))
    trials = [trial for trial in plan.trials if isinstance(trial, UncertaintyTrial)]
    records = {
        trial.slug: _write_trial(folder, spec, plan, trial, replies.get((trial.model.name, trial.dataset)))
        for trial in trials
    }
    write_manifest(
        folder,
        RunManifest(
            run_id=folder.run_id,
            kind=spec.kind,
            name=spec.name,
            fingerprint="f" * 64,
            state=TrialState.DONE,
            created=NOW,
            updated=NOW,
            execution={"max_concurrent_requests": 4},
            environment={"cpu": "a cpu", "cores": 2, "python": "3.11.7", "gpus": None, "git": None},
            items=dict(seal(folder.path, folder.items(name)) for name in DATASETS),
            blocks={
                one.model.name: BlockRecord(model=one.model.name, digest="d" * 64, loads=1, load_s=0.5)
                for one in trials
            },
            trials=records,
        ),
    )
    if slugs := measured_slugs(folder, plan):
        analysis = analysis_of(folder, spec, plan, slugs)
        write_auroc_results(folder.path, analysis)
        write_summary(folder.path / "analysis_summary.json", analysis)
    return folder


def _write_trial(
    folder: RunFolder,
    spec: UncertaintySweepSpec,
    plan: Plan,
    trial: UncertaintyTrial,
    reply: Callable[[Item], Reply | None] | None,
) -> TrialRecord:
    if reply is None:
        return TrialRecord(fingerprint=trial.fingerprint, requested=trial.requested())
    files = folder.trial(trial.slug)
    rows = [{**_row(item, reply(item)), "trial": trial.slug} for item in plan.items_of(trial)]
    write_text(files.journal, "".join(json.dumps(row) + "\n" for row in rows))
    write_predictions(files, plan, trial)
    write_scores(files, plan, trial, UnsupportedSpec())
    write_costs(files, PricingSpec(), 2.0)
    write_relevance(files, plan, trial, WordsShared())
    write_measures(files, plan, trial, spec.experiment)
    n_errors = sum(row["status"] != "ok" for row in rows)
    return TrialRecord(
        state=TrialState.DONE,
        fingerprint=trial.fingerprint,
        requested=trial.requested(),
        effective={"model": trial.model.name, "quantization": trial.model.quantization},
        counts=TrialCounts(expected=len(rows), done=len(rows) - n_errors, errors=n_errors),
        timings=Timings(started=NOW, ended=NOW, inference_s=2.0),
    )


def _row(item: Item, reply: Reply | None) -> dict[str, Any]:
    named = {
        "custom_id": custom_id(item.key, Condition.CONTROL.value, 0.0, 0, item.type.value),
        "part": "p",
        "request_id": "0" * 32,
        "attempt": 1,
    }
    if reply is None:
        return {
            **named,
            "status": "error",
            "finish_reason": "error",
            "text": None,
            "prompt_tokens": None,
            "completion_tokens": None,
            "mean_logprob": None,
            "error": {"message": "it broke"},
        }
    text, tokens = reply
    return {
        **named,
        "status": "ok",
        "finish_reason": "stop",
        "text": text,
        "prompt_tokens": 9,
        "completion_tokens": len(tokens) + 1,
        "mean_logprob": None,
        "tokens": [
            *({"text": piece, "logprob": logprob} for piece, logprob in tokens),
            {"text": "", "logprob": -0.1, "ends": True},
        ],
        "error": None,
    }


def grid(path: Path, n_items: int, n_models: int = len(MODELS), **experiment: Any) -> RunFolder:
    """Write some models on both data sets; the last one is always right on the last data set."""
    spec = spec_of(MODELS[:n_models], **experiment)
    replies: dict[tuple[str, str], Callable[[Item], Reply | None]] = {
        (str(one["name"]), dataset): made_up(
            10 * row + column, signal=0.5 + 0.5 * row, accuracy=0.4 + 0.1 * row
        )
        for row, one in enumerate(MODELS[:n_models])
        for column, dataset in enumerate(DATASETS)
    }
    replies[str(MODELS[n_models - 1]["name"]), DATASETS[-1]] = made_up(99, signal=1.0, accuracy=1.0)
    return write_sweep(path, spec, replies, n_items=n_items)
