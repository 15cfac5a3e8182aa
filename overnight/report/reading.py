"""From the files of a run to one value that every report is written from."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from overnight.errors import OvernightError, StoreError, said_below
from overnight.ids import item_key, number_label, text_digest
from overnight.invariance.record import AuditRecord
from overnight.records import Condition, ItemType
from overnight.report.comparisons import Cell
from overnight.report.results import (
    Costs,
    DatasetItems,
    DatasetScore,
    Example,
    PromptText,
    RunReport,
    TokenSums,
    TrialReport,
)
from overnight.report.sheets.collecting import NAMES as ANALYSES
from overnight.report.significance import read_significance
from overnight.report.tallies import Draws, excerpt, score_datasets, tally_draws
from overnight.report.telemetry import read_telemetry
from overnight.spec.reading import read_mapping
from overnight.store.files import read_json
from overnight.store.manifest import RunManifest, TrialRecord, TrialState, read_manifest
from overnight.store.run_folder import RunFolder, TrialFolder

EXAMPLES_PER_TRIAL = 2000
EXAMPLES_PER_RUN = (
    8000  # the page decodes them one trial at a time; its size in bytes is bounded by `explorer`
)
_FEWEST_EXAMPLES = 10
UNCERTAINTY = "uncertainty-sweep"  # as a manifest names the kind
CAPTURE = "trait-capture"
BEST_OF_K = "best-of-k-sweep"

T = TypeVar("T")


def read_run(folder: RunFolder) -> RunReport:
    """Return what the files of a run say; tables that are missing are named with the reason.

    Raises:
        StoreError: the run has no manifest that can be read.
    """
    manifest = read_manifest(folder)
    notes: dict[str, str] = {}
    no_mapping: dict[str, Any] = {}
    plan = _attempt(lambda: _mapping(read_json(folder.plan)), no_mapping, folder.plan, notes)
    config = _attempt(
        lambda: read_mapping(folder.effective_config, "the configuration of the run", expand=False),
        no_mapping,
        folder.effective_config,
        notes,
    )
    slugs = _slugs(manifest, plan)
    n_examples = max(_FEWEST_EXAMPLES, min(EXAMPLES_PER_TRIAL, EXAMPLES_PER_RUN // max(1, len(slugs))))
    if manifest.kind in (UNCERTAINTY, CAPTURE, BEST_OF_K):
        n_examples = 0  # an example compares two arms
    labels = trial_labels({slug: manifest.trials[slug].requested for slug in slugs})
    prompts = _prompt_texts(config)
    trials = [
        _read_trial(folder.trial(slug), manifest.trials[slug], labels[slug], prompts, n_examples)
        for slug in slugs
    ]
    counted = {
        path: _attempt(partial(_count_items, path), None, path, notes)
        for path in (folder.path / name for name, file in manifest.items.items() if file.rows != 0)
        if path.parent == folder.items_folder  # below it lie questions that nobody is asked
    }
    items = {path: dataset for path, dataset in counted.items() if dataset is not None}
    path = folder.path / "comparisons.json"
    compared = _attempt(partial(_read_mapping, path), None, path, notes) if path.exists() else None
    return RunReport(
        run_id=manifest.run_id,
        name=manifest.name,
        description=str(config.get("description") or ""),
        state=manifest.state,
        error=manifest.error,
        created=manifest.created,
        updated=manifest.updated,
        fingerprint=manifest.fingerprint,
        environment=manifest.environment,
        execution=manifest.execution,
        blocks=tuple(manifest.blocks.values()),
        items=tuple(items.values()),
        detectable=plan.get("smallest_detectable_difference_em") or {},
        trials=_with_questions(trials, items),
        notes=tuple(notes.values()),
        comparisons=compared,
        telemetry=read_telemetry(folder.telemetry),
        machine=manifest.telemetry,
        estimate=manifest.estimate,
        predicted_memory=_predicted_memory(plan),
    )


def _predicted_memory(plan: Mapping[str, Any]) -> dict[str, int]:
    """Return what the models of a plan were predicted to need, in bytes; unknown ones are left out."""
    found = {
        str(block.get("model")): (block.get("predicted_memory") or {}).get("total_bytes")
        for block in plan.get("blocks", ())
    }
    return {model: n_bytes for model, n_bytes in found.items() if n_bytes is not None}


def trial_labels(requested: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return a short name of each trial: its prompt set, and of the other settings those that vary.

    In a sweep without prompt sets it is the model and the data set, in a capture the model and the group of prompts, in
    a best-of-K sweep the lens, the temperature, and where they vary the data set and the model.
    """
    if requested and all("lens" in settings for settings in requested.values()):
        return _lens_labels(requested)
    if requested and all("group" in settings for settings in requested.values()):
        return {slug: f"{one['group']} by {one['model']}" for slug, one in requested.items()}
    if any("prompt_set" not in settings for settings in requested.values()):
        return {slug: f"{one['model']} on {one['dataset']}" for slug, one in requested.items()}
    parts = {slug: _label_parts(settings) for slug, settings in requested.items()}
    varying = {
        key for key in next(iter(parts.values()), {}) if len({part[key] for part in parts.values()}) > 1
    }
    labels = {
        slug: " ".join(text for key, text in part.items() if key == "prompt_set" or key in varying)
        for slug, part in parts.items()
    }
    counts = Counter(labels.values())
    return {slug: f"{label} {slug[-8:]}" if counts[label] > 1 else label for slug, label in labels.items()}


def _lens_labels(requested: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    def label(settings: Mapping[str, Any]) -> str:
        on = f" on {settings['dataset']}" if len(datasets) > 1 else ""
        of = f" of {settings['model']}" if len(models) > 1 else ""
        return f"{settings['lens']}{of}, T {number_label(settings['temperature'])}{on}"

    datasets, models = (
        {str(settings.get(key)) for settings in requested.values()} for key in ("dataset", "model")
    )
    labels = {slug: label(settings) for slug, settings in requested.items()}
    counts = Counter(labels.values())
    return {slug: f"{text} {slug[-8:]}" if counts[text] > 1 else text for slug, text in labels.items()}


def _label_parts(settings: Mapping[str, Any]) -> dict[str, str]:
    limits = settings["max_new_tokens"]
    return {
        "model": str(settings["model"]),
        "prompt_set": str(settings["prompt_set"]),
        "top_p": f"top-p {number_label(settings['top_p'])}",
        "top_k": f"top-k {settings['top_k']}",
        "max_new_tokens": f"limit {limits['closed']}/{limits['open']}",
    }


def _slugs(manifest: RunManifest, plan: Mapping[str, Any]) -> list[str]:
    """Return the trials in the order of the plan; those that it does not have come last."""
    planned = [trial["slug"] for block in plan.get("blocks", ()) for trial in block["trials"]]
    return sorted(manifest.trials, key=lambda slug: planned.index(slug) if slug in planned else len(planned))


def _read_trial(
    folder: TrialFolder,
    record: TrialRecord,
    label: str,
    prompts: Mapping[str, str],
    n_examples: int,
) -> TrialReport:
    missing: dict[str, str] = {}
    reason = _why_missing(record)
    statistics: Mapping[str, Any] = {}
    cells: tuple[Cell, ...] = ()
    scores: tuple[DatasetScore, ...] = ()
    draws = Draws(arms=(), examples=(), n_by_outcome={})
    statistics, cells = _attempt(
        lambda: read_significance(folder.significance),
        (statistics, cells),
        folder.significance,
        missing,
        reason,
    )
    costs = _attempt(lambda: _costs(folder.costs), None, folder.costs, missing, reason)
    scores = _attempt(lambda: score_datasets(folder), scores, folder.scores, missing, reason)
    draws = _attempt(
        lambda: tally_draws(folder, n_examples=n_examples), draws, folder.predictions, missing, reason
    )
    return TrialReport(
        slug=folder.slug,
        label=label,
        state=record.state,
        error=record.error,
        requested=record.requested,
        effective=record.effective,
        counts=record.counts,
        started=record.timings.started,
        ended=record.timings.ended,
        inference_s=record.timings.inference_s,
        prompts=tuple(
            PromptText(
                condition=Condition(condition),
                text=prompts.get(digest),
                sha256=digest,
            )
            for condition, digest in record.requested.get("prompt_digests", {}).items()
        ),
        statistics=statistics,
        cells=cells,
        costs=costs,
        arms=draws.arms,
        dataset_scores=scores,
        examples=draws.examples,
        n_examples_in_all=sum(draws.n_by_outcome.values()),
        n_by_outcome=draws.n_by_outcome,
        missing=missing,
        analyses=_analyses(folder, missing),
        telemetry=record.telemetry,
        audit=_audit(folder, missing),
        rung_history=record.rung_history,
    )


def _analyses(folder: TrialFolder, missing: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the analyses that were made; one that was not made is no fault, one that is damaged is named."""
    paths = {name: folder.results / f"{name}.json" for name in ANALYSES}
    found = {
        name: _attempt(partial(_read_mapping, path), None, path, missing)
        for name, path in paths.items()
        if path.exists()
    }
    return {name: value for name, value in found.items() if value is not None}


def _audit(folder: TrialFolder, missing: dict[str, str]) -> AuditRecord | None:
    """Return what came of the draws that were asked again; not every trial has such."""
    if not folder.audit.exists():
        return None
    return _attempt(lambda: AuditRecord.model_validate(read_json(folder.audit)), None, folder.audit, missing)


def _why_missing(record: TrialRecord) -> str:
    if record.state is TrialState.PLANNED:
        return "the trial never began"
    if record.error:
        return f"the trial is {record.state.value}: {record.error}"
    if record.state in (TrialState.RUNNING, TrialState.STOPPED):
        return f"the trial is {record.state.value}"
    return "the step that writes it was not run"


def _attempt(
    read: Callable[[], T], instead: T, path: Path, reasons: dict[str, str], why_missing: str | None = None
) -> T:
    """Return what a file says, or ``instead``; then ``reasons`` says why under the file's name."""
    try:
        if path.exists():
            return read()
        reasons[path.name] = why_missing or f"{path.name} is missing"
    except OvernightError as error:
        reasons[path.name] = said_below(path.parent, error)
    except (KeyError, TypeError, ValueError) as error:
        reasons[path.name] = f"{path.name} cannot be read ({type(error).__name__}: {error})"
    return instead


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"found a {type(value).__name__}, wanted an object")
    return value


def _read_mapping(path: Path) -> dict[str, Any]:
    return _mapping(read_json(path))


def _costs(path: Path) -> Costs:
    value = _mapping(read_json(path))
    return Costs(
        total=_tokens(value),
        by_condition={Condition(name): _tokens(sums) for name, sums in value["by_condition"].items()},
        pricing=value["pricing"],
        local=value.get("local"),
    )


def _tokens(sums: Mapping[str, Any]) -> TokenSums:
    return TokenSums(**{key: sums[key] for key in TokenSums.__slots__})


def _count_items(path: Path) -> DatasetItems:
    counts: Counter[bool] = Counter()
    first: Mapping[str, Any] | None = None
    for row in _item_rows([path]):
        first = first or row
        counts[not row["answers"]] += 1
    if first is None:
        raise StoreError(f"{path}: no items in it")
    return DatasetItems(
        dataset=first["dataset"],
        type=ItemType(first["type"]),
        n_items=counts.total(),
        n_unanswerable=counts[True],
    )


def _item_rows(paths: Iterable[Path]) -> Iterator[Mapping[str, Any]]:
    for path in paths:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)


def _with_questions(trials: Sequence[TrialReport], paths: Iterable[Path]) -> tuple[TrialReport, ...]:
    """Return the trials with the questions of their examples; the items are read once, one at a time."""
    wanted = {example.item_key for trial in trials for example in trial.examples}
    asked: dict[str, dict[str, Any]] = {}
    for row in _item_rows(paths):
        key = item_key(row["dataset"], row["item_id"])
        if key in wanted:
            asked[key] = {
                "question": excerpt(row["question"]),
                "context": None if row["context"] is None else excerpt(row["context"]),
                "answers": tuple(excerpt(answer) for answer in row["answers"]),
            }

    def complete(example: Example) -> Example:
        return replace(example, **asked.get(example.item_key, {}))

    return tuple(replace(trial, examples=tuple(map(complete, trial.examples))) for trial in trials)


def _prompt_texts(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the system prompts that stand in a resolved sweep, by their digests."""
    experiment = config.get("experiment") or {}
    sets = [
        (experiment.get("defaults") or {}).get("prompt_set"),
        *((experiment.get("sweep") or {}).get("prompt_sets") or ()),
        *(trial.get("prompt_set") for trial in experiment.get("trials") or ()),
    ]
    texts = [s[arm.value] for s in sets if isinstance(s, dict) for arm in Condition]
    return {text_digest(text): text for text in texts}
