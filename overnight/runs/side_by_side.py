"""Trials of several runs side by side: every pair on every arm and temperature that they share."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from overnight.errors import StoreError, UsageError
from overnight.ids import item_key, number_label
from overnight.records import Condition, ItemType
from overnight.report.paired import PairedReport, PairedTable, Setting, adjusted_together, differing_items
from overnight.report.wording import metric_name
from overnight.runs.item_sets import SameItems, read_frozen, same_items
from overnight.runs.setting_differences import run_settings, trial_settings
from overnight.runs.trial_choice import Choice, ChosenTrial, choose_trials
from overnight.spec.model import EngineKind
from overnight.stats.compare import IS_HIGHER_BETTER, METRICS
from overnight.stats.mcnemar import RIGHT_FROM
from overnight.stats.systems import compare_systems
from overnight.store.manifest import TrialState

_LISTED_METRICS = frozenset({"em", "f1"})  # those whose items are listed

Cell = tuple[float, ItemType, Condition]  # temperature, type, arm
Values = dict[str, dict[str, float | None]]  # metric -> item key -> score


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """What may be compared, and how."""

    is_across_models: bool = False
    is_partial_allowed: bool = False
    seed: int = 1337
    n_resamples: int = 5000
    confidence: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scores:
    cells: Mapping[Cell, Values]
    clusters: Mapping[str, str]  # by item key; empty where the table names none


def compare_runs(experiments: Path, words: Sequence[str], options: CompareOptions) -> PairedReport:
    """Compare two or more runs, or trials as RUN/SLUG, item by item.

    Treatment is compared with treatment. Control is compared with control too: where the text, the model and
    the items are the same, as a check, because those answers should agree.

    Raises:
        UsageError: the runs cannot be compared: other items, other models, unfinished trials, no partners.
        StoreError: a file of a run is missing or damaged.
    """
    choice = choose_trials(experiments, words, is_partial_allowed=options.is_partial_allowed)
    if not options.is_across_models:
        _require_one_model(choice)
    same = same_items(choice.labels, [read_frozen(folder) for folder in choice.folders])
    findings = list(choice.left_out)
    if same.is_renamed:
        findings.append("The runs name their items differently; they are matched by what they ask.")
    tables: list[PairedTable] = []
    for name, group in choice.groups.items():
        made, found = _group_tables(name, group, same, options)
        tables += made
        findings += [*_cautions(group), *found]
    if not tables:
        raise UsageError(f"{' and '.join(choice.labels)}: no temperature and arm that all of them have")
    return PairedReport(
        title=f"{', '.join(choice.labels)} side by side",
        facts=tuple(_facts(choice, same, options)),
        findings=tuple(dict.fromkeys(findings)),
        setting_columns=choice.labels,
        settings=_settings(choice),
        tables=adjusted_together(tables),
    )


def _group_tables(
    name: str, group: Sequence[ChosenTrial], same: SameItems, options: CompareOptions
) -> tuple[list[PairedTable], list[str]]:
    scores = [_read_scores(trial, keys) for trial, keys in zip(group, same.key_in_first, strict=True)]
    found = _temperatures_left_out(group, scores)
    clusters = _clusters(scores)
    tables = []
    for cell in sorted(scores[0].cells, key=lambda c: (c[2] is Condition.CONTROL, *c[:2])):
        if not all(cell in one.cells for one in scores):
            continue
        temperature, kind, condition = cell
        is_check = condition is Condition.CONTROL and _is_same_control(group)
        if is_check and temperature == 0:
            found += _disagreement(name, group, same, kind)
        items = [key for key, item in same.items.items() if item.type is kind]
        for metric in METRICS[kind]:
            by_system = {
                trial.label: {key: one.cells[cell].get(metric, {}).get(key) for key in items}
                for trial, one in zip(group, scores, strict=True)
            }
            if all(value is None for values in by_system.values() for value in values.values()):
                continue  # the metric is not defined for these items
            where = {"metric": metric, "type": kind.value, "condition": condition.value}
            comparison = compare_systems(
                by_system,
                metric=metric,
                seed=options.seed,
                n_resamples=options.n_resamples,
                confidence=options.confidence,
                clusters={key: clusters.get(key, key) for key in items} if clusters else None,
                right_from=RIGHT_FROM if metric == "em" else None,
            )
            differing, n_differing = differing_items(
                by_system, {key: (key, same.items[key].question, same.items[key].gold) for key in items}
            )
            heading = (
                f"{metric_name(metric)}, {kind.value} items, {condition.value}, T {number_label(temperature)}"
            )
            tables.append(
                PairedTable(
                    heading=f"{name}: {heading}" if name else heading,
                    where=where | {"temperature": repr(temperature), "trials": name},
                    comparison=comparison,
                    is_higher_better=IS_HIGHER_BETTER.get(metric),
                    is_share=True,
                    differing=differing if metric in _LISTED_METRICS else (),
                    n_differing=n_differing,
                    is_check=is_check,
                )
            )
    return tables, found


def _read_scores(trial: ChosenTrial, key_in_first: Mapping[str, str]) -> _Scores:
    path = trial.folder.trial(trial.slug).scores
    cells: dict[Cell, Values] = {}
    clusters: dict[str, str] = {}
    for number, row in _rows(path, ("item_key", "type", "condition", "temp")):
        try:
            key, kind = key_in_first[row["item_key"]], ItemType(row["type"])
            cell = float(row["temp"]), kind, Condition(row["condition"])
            values = cells.setdefault(cell, {})
            for metric in METRICS[kind]:
                if text := row.get(metric):
                    values.setdefault(metric, {})[key] = float(text)
        except (KeyError, ValueError):
            raise StoreError(
                f"{path}:{number}: not a row of this run's scores; run the score step again"
            ) from None
        if row.get("cluster"):
            clusters[key] = row["cluster"]
    return _Scores(cells=cells, clusters=clusters)


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a table with their numbers; tables of earlier versions have fewer columns."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            if missing := [column for column in columns if column not in (table.fieldnames or ())]:
                raise StoreError(
                    f"{path}: has no column {', '.join(missing)}; run the step that writes it again"
                )
            yield from enumerate(table, start=2)
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file; run the step that writes it first") from None


def _clusters(scores: Sequence[_Scores]) -> dict[str, str]:
    """Return the cluster of each item that some table names one for; the first table wins."""
    found: dict[str, str] = {}
    for one in reversed(scores):
        found |= one.clusters
    return found


def _require_one_model(choice: Choice) -> None:
    for group in choice.groups.values():
        first = group[0]
        for trial in group[1:]:
            if trial.effective_model != first.effective_model:
                raise UsageError(
                    f"{first.label} was answered by {_model(first)}, {trial.label} by {_model(trial)}; "
                    "compare them all the same with --across-models"
                )


def _model(trial: ChosenTrial) -> str:
    found = trial.record.effective or trial.record.requested
    details = [found.get("quantization"), found.get("engine"), (found.get("model_digest") or "")[:12]]
    return f"{found.get('model')} ({', '.join(str(detail) for detail in details if detail)})"


def _is_same_control(group: Sequence[ChosenTrial]) -> bool:
    digests = {(trial.record.requested.get("prompt_digests") or {}).get("control") for trial in group}
    return (
        len(digests) == 1
        and None not in digests
        and all(trial.effective_model == group[0].effective_model for trial in group)
    )


def _temperatures_left_out(group: Sequence[ChosenTrial], scores: Sequence[_Scores]) -> list[str]:
    arms = [{(temperature, condition) for temperature, _, condition in one.cells} for one in scores]
    common = set.intersection(*arms)
    return [
        f"{trial.label}: {condition.value} at temperature {number_label(temperature)} is not in every run "
        "and is left out."
        for trial, own in zip(group, arms, strict=True)
        for temperature, condition in sorted(own - common)
    ]


def _disagreement(name: str, group: Sequence[ChosenTrial], same: SameItems, kind: ItemType) -> Iterator[str]:
    """Say where the same control prompt got other replies at temperature 0."""
    replies = [_replies(trial, keys) for trial, keys in zip(group, same.key_in_first, strict=True)]
    items = [key for key, item in same.items.items() if item.type is kind]
    asked = [key for key in items if all(key in one for one in replies)]
    other = [key for key in asked if len({one[key] for one in replies}) > 1]
    if other:
        yield (
            f"{f'{name}: ' if name else ''}The control prompt, the model and the {kind.value} items are the same, "
            f"and still {len(other)} of {len(asked)} greedy replies differ (the first is {other[0]}): something "
            "else differed, such as the batch, the hardware or the engine's version."
        )


def _replies(trial: ChosenTrial, key_in_first: Mapping[str, str]) -> dict[str, bytes]:
    """Return a digest of each greedy control reply by item, or nothing where the run has no predictions."""
    path = trial.folder.trial(trial.slug).predictions
    if not path.is_file():
        return {}
    columns = ("dataset", "item_id", "condition", "temp", "response_text", "finish_reason")
    return {
        key_in_first[key]: blake2b(
            row["response_text"].encode("utf-8", "surrogatepass"), digest_size=16
        ).digest()
        for _, row in _rows(path, columns)
        if row["condition"] == Condition.CONTROL
        and float(row["temp"]) == 0
        and row["finish_reason"] != "error"
        and (key := item_key(row["dataset"], row["item_id"])) in key_in_first
    }


def _cautions(group: Sequence[ChosenTrial]) -> Iterator[str]:
    for trial in group:
        if trial.record.state is not TrialState.DONE:
            yield f"{trial.label}: {trial.slug} is {trial.record.state.value}; only what is there is compared."
        if trial.effective_model["engine"] == EngineKind.DRY_RUN:
            yield f"{trial.label}: a dry run with synthetic answers; its numbers are about no model."
    if any(trial.effective_model != group[0].effective_model for trial in group[1:]):
        models = ", ".join(f"{trial.label}: {_model(trial)}" for trial in group)
        yield f"Different models answered: {models}."


def _facts(choice: Choice, same: SameItems, options: CompareOptions) -> Iterator[tuple[str, str]]:
    for label, folder in zip(choice.labels, choice.folders, strict=True):
        yield f"run {label}", str(folder.path)
    for name, group in choice.groups.items():
        for trial in group:
            yield f"trial of {trial.label}{f', {name}' if name else ''}", f"{trial.slug}, {_model(trial)}"
    yield "items", f"{len(same.items):,}, identified by their frozen content"
    yield "seed, resamples", f"{options.seed}, {options.n_resamples:,}"


def _settings(choice: Choice) -> tuple[Setting, ...]:
    """Return what differs: in the configurations, and in what each trial asked for and got."""
    return (
        *run_settings(choice.folders),
        *(setting for name, group in choice.groups.items() for setting in trial_settings(group, name)),
    )
