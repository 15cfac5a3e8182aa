"""The stats step: control against treatment in every trial, one adjustment over the whole run."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import accumulate
from typing import Any

from overnight.ids import temperature_label
from overnight.records import Condition, ItemType
from overnight.runs.tables import read_scores
from overnight.spec.prompt_sweep import StatisticsSpec
from overnight.stats.compare import METRICS, Comparison, adjust, compare_arms
from overnight.store.files import write_json
from overnight.store.run_folder import RunFolder

SCHEMA_VERSION = 2


def compare_trial(folder: RunFolder, slug: str, settings: StatisticsSpec) -> list[Comparison]:
    """Return the comparisons of one trial: by temperature, by type, by metric.

    Raises:
        StoreError: the trial has no scores.
    """
    values: dict[tuple[float, ItemType, str, Condition], dict[str, float | None]] = defaultdict(dict)
    for row in read_scores(folder.trial(slug).scores):
        kind = ItemType(row["type"])
        for metric in METRICS[kind]:
            cell = float(row["temp"]), kind, metric, Condition(row["condition"])
            values[cell][row["item_key"]] = float(row[metric]) if row[metric] else None
    cells = sorted({(temperature, kind) for temperature, kind, _, _ in values})
    return [
        compare_arms(
            values.get((temperature, kind, metric, Condition.CONTROL), {}),
            values.get((temperature, kind, metric, Condition.TREATMENT), {}),
            metric=metric,
            type=kind,
            temperature=temperature,
            seed=settings.seed,
            n_resamples=settings.resamples,
            confidence=settings.confidence,
        )
        for temperature, kind in cells
        for metric in METRICS[kind]
    ]


def write_significance(
    folder: RunFolder, by_trial: Mapping[str, list[Comparison]], settings: StatisticsSpec
) -> None:
    """Adjust all p-values of a run together and write each trial's ``significance.json``."""
    everything = [comparison for comparisons in by_trial.values() for comparison in comparisons]
    adjusted = adjust(everything)
    n_tests = sum(comparison.p_value is not None for comparison in adjusted)
    ends = list(accumulate((len(comparisons) for comparisons in by_trial.values()), initial=0))
    for slug, start, end in zip(by_trial, ends, ends[1:], strict=False):
        write_json(
            folder.trial(slug).significance,
            significance_record(adjusted[start:end], settings, n_tests=n_tests),
        )


def significance_record(
    comparisons: list[Comparison], settings: StatisticsSpec, *, n_tests: int
) -> dict[str, Any]:
    """Return ``significance.json``; what is undefined is null and says why."""
    results: dict[str, dict[str, Any]] = {}
    for comparison in comparisons:
        cell = results.setdefault(temperature_label(comparison.temperature), {}).setdefault(
            comparison.type.value, {"n_items": 0, "mcnemar": None, "metrics": {}}
        )
        cell["n_items"] = max(cell["n_items"], comparison.n_pairs)
        if comparison.mcnemar is not None:
            cell["mcnemar"] = asdict(comparison.mcnemar) | {"q_value": comparison.q_value}
        cell["metrics"][comparison.metric] = _metric_record(comparison)
    return {
        "schema_version": SCHEMA_VERSION,
        "temps": list(results),
        "difference": "treatment - control",
        "stats_config": settings.model_dump(mode="json")
        | {
            "interval": "paired percentile bootstrap of the mean difference",
            "tests": {"em": "exact McNemar", "f1": "sign-flip permutation of the paired differences"},
            "adjustment": "Benjamini-Hochberg over every p-value of the run",
            "n_tests": n_tests,
        },
        "results": results,
    }


def _metric_record(comparison: Comparison) -> dict[str, Any]:
    plain = asdict(replace(comparison, mcnemar=None))
    for key in ("metric", "type", "temperature", "mcnemar", "permutation_p", "confidence", "n_resamples"):
        del plain[key]
    low, high = plain.pop("ci_low"), plain.pop("ci_high")
    return plain | {
        "delta_mean": plain.pop("mean_difference"),
        "ci": [low, high],
        "p_value": comparison.p_value,
    }
