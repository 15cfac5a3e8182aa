"""What a tracker is told of a trial: settings, numbers, a table and figures, from the files of its run alone."""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from overnight.ids import digest
from overnight.store.files import read_json
from overnight.store.manifest import RunManifest, TrialRecord, TrialState
from overnight.store.run_folder import RunFolder, TrialFolder

LARGEST_TABLE: Final = 2000  # rows; what lies beyond stays in the run
_MOST_FIGURES: Final = 60
_COMPARISONS_FROM: Final = "n_pairs"  # the first column of summary.csv that holds a number
_SHOWN_OF_A_SIGNAL: Final = ("mean", "p95", "max")
_TEXT_COLUMNS: Final = frozenset({"item_key", "dataset", "finish_reason", "trial", "model", "prompt_set"})

Value = float | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedTable:
    """Rows that are shown as a table."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[
        tuple[Value, ...], ...
    ]  # at most LARGEST_TABLE; a column holds numbers or texts, None is missing
    n_all: int  # rows that there are


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedTrial:
    """One trial."""

    key: str  # the same for the same trial of the same run, and for no other
    slug: str
    run_id: str
    kind: str
    has_failed: bool
    config: Mapping[str, Any]
    metrics: Mapping[str, float]  # what is undefined is not there
    table: TrackedTable | None
    figures: tuple[Path, ...]  # of the whole run


def tracked_trials(folder: RunFolder, manifest: RunManifest) -> Iterator[TrackedTrial]:
    """Yield the trials of a run that were begun, one after the other.

    Raises:
        StoreError: a file is there and damaged.
    """
    figures = tuple(sorted(folder.figures.glob("*.png"))[:_MOST_FIGURES])
    by_label = _discriminations(folder)
    for slug, record in manifest.trials.items():
        if record.state is TrialState.PLANNED:
            continue
        files = folder.trial(slug)
        table = _table(folder, files)
        yield TrackedTrial(
            key=digest({"run": manifest.run_id, "created": manifest.created.isoformat(), "trial": slug})[:16],
            slug=slug,
            run_id=manifest.run_id,
            kind=manifest.kind,
            has_failed=record.state is TrialState.FAILED,
            config=_config(manifest, slug, record, table),
            metrics=dict(_numbers(_metrics(folder, files, record, by_label.get(slug, ())))),
            table=table,
            figures=figures,
        )


def _config(
    manifest: RunManifest, slug: str, record: TrialRecord, table: TrackedTable | None
) -> dict[str, Any]:
    about = manifest.model_dump(mode="json", include={"run_id", "name", "kind", "fingerprint", "environment"})
    return {
        **record.requested,
        "effective": record.effective,
        "trial": {"slug": slug, "state": record.state.value, "fingerprint": record.fingerprint},
        "run": about,
        "table_rows": table and {"shown": len(table.rows), "all": table.n_all},
    }


def _metrics(
    folder: RunFolder, files: TrialFolder, record: TrialRecord, labels: tuple[Mapping[str, Any], ...]
) -> Iterator[tuple[str, Any]]:
    for name, count in record.counts.model_dump().items():
        yield f"counts/{name}", count
    seconds, tokens = record.timings.inference_s, record.counts.generated_tokens
    yield "timings/inference_s", seconds
    if record.timings.started and record.timings.ended:
        yield "timings/elapsed_s", (record.timings.ended - record.timings.started).total_seconds()
    yield "speed/tokens_per_s", tokens / seconds if tokens and seconds else None
    yield "energy/joules", record.energy.joules if record.energy else None
    if record.telemetry:
        telemetry = record.telemetry.model_dump(mode="json")
        yield from _signals("requests", telemetry.get("requests") or {})
        yield from _signals("machine", (telemetry.get("machine") or {}).get("signals") or {})
    if files.costs.is_file():
        costs = read_json(files.costs)
        for name in ("prompt_tokens", "completion_tokens", "total_tokens", "usd_if_hosted"):
            yield f"costs/{name}", costs.get(name)
    if files.k_sweep.is_file():
        yield from _best_of_k(read_json(files.k_sweep))
    for label in labels:
        yield from _label(label)
    yield from _comparisons(folder, files.slug)


def _best_of_k(results: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what the oracle recovers by K, and beside it what selectors and baselines do."""
    for name, count in results["vectors"].items():
        yield f"vectors/{name}", count
    for name in ("tokens_per_draw", "seconds_per_draw"):
        yield f"best_of_k/{name}", results["costs"][name]
    for curve in (results["oracle"], *results["selectors"], *results["baselines"]):
        for at in curve["by_k"]:
            place = f"{curve['name']}/k_{at['k']}"
            for measure, found in at["measures"].items():
                yield f"{measure}/{place}", found["value"]
                yield f"{measure}/{place}_low", found["ci_lower"]
                yield f"{measure}/{place}_high", found["ci_upper"]


def _signals(group: str, summaries: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for signal, summary in summaries.items():
        if isinstance(summary, dict):
            yield from ((f"{group}/{signal}/{name}", summary.get(name)) for name in _SHOWN_OF_A_SIGNAL)


def _discriminations(folder: RunFolder) -> dict[str, tuple[Mapping[str, Any], ...]]:
    if not folder.auroc_results.is_file():
        return {}
    return {row["slug"]: tuple(row["labels"]) for row in read_json(folder.auroc_results)}


def _label(found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what a label of correctness says of a trial, and how well each measure tells its two classes apart."""
    label = found["label"]
    for name in ("accuracy", "accuracy_low", "accuracy_high", "n_right", "n_wrong", "n_without_label"):
        yield f"{label}/{name}", found[name]
    for one in found["measures"]:
        ranking = one["discrimination"]["ranking"] or {}
        place = f"{label}/{one['measure']}"
        yield f"auroc/{place}", ranking.get("auroc")
        for interval, suffix in (("delong", ""), ("bootstrap", "_bootstrap")):
            bounds = ranking.get(interval) or {}
            yield f"auroc/{place}{suffix}_low", bounds.get("low")
            yield f"auroc/{place}{suffix}_high", bounds.get("high")
        yield f"auprc/{place}", ranking.get("auprc")
        yield f"aurc/{place}", ranking.get("aurc")
        yield f"prr/{place}", ranking.get("prediction_rejection_ratio")
        yield f"mean/{place}", one["spread"]["mean"]
    for one in found["calibrations"]:
        reliability = one["reliability"] or {}
        yield f"ece/{label}/{one['measure']}", reliability.get("ece")
        yield f"brier/{label}/{one['measure']}", reliability.get("brier")


def _comparisons(folder: RunFolder, slug: str) -> Iterator[tuple[str, Any]]:
    """Yield the numbers of a prompt sweep's summary: what the treatment did to each metric, by temperature."""
    for row in _summary_rows(folder, slug):
        place = f"{row['type']}/{row['metric']}/temp_{row['temperature']}"
        columns = list(row)
        for name in columns[columns.index(_COMPARISONS_FROM) :]:
            yield f"{place}/{name}", _number(row[name])


def _summary_rows(folder: RunFolder, slug: str) -> Iterator[dict[str, str]]:
    if folder.summary.is_file():
        with folder.summary.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row.get("trial") == slug and row.get("metric") and _COMPARISONS_FROM in row:
                    yield row


def _table(folder: RunFolder, files: TrialFolder) -> TrackedTable | None:
    if files.uncertainty.is_file():
        with files.uncertainty.open(encoding="utf-8", newline="") as file:
            return _as_table("uncertainty", csv.DictReader(file))
    if files.k_sweep_table.is_file():
        with files.k_sweep_table.open(encoding="utf-8", newline="") as file:
            return _as_table("k_sweep", csv.DictReader(file))
    return _as_table("comparisons", _summary_rows(folder, files.slug))


def _as_table(name: str, rows: Iterable[Mapping[str, str]]) -> TrackedTable | None:
    """Return the first rows; a column is one of numbers where all its texts are."""
    first: list[Mapping[str, str]] = []
    n_all = 0
    for n_all, row in enumerate(rows, start=1):  # noqa: B007 - how many there are is wanted as well
        if len(first) < LARGEST_TABLE:
            first.append(row)
    if not first:
        return None
    columns = tuple(first[0])
    are_numbers = {
        column: column not in _TEXT_COLUMNS
        and all(_number(row[column]) is not None for row in first if row[column])
        for column in columns
    }
    return TrackedTable(
        name=name,
        columns=columns,
        rows=tuple(
            tuple(_number(row[column]) if are_numbers[column] else row[column] or None for column in columns)
            for row in first
        ),
        n_all=n_all,
    )


def _numbers(named: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, float]]:
    """Yield what is a finite number; what is undefined has none, and nothing stands in for it."""
    for name, value in named:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield name, value


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
