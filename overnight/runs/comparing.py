"""The stats step: control against treatment in every trial, trials among each other, one adjustment for all."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from overnight.ids import temperature_label
from overnight.records import Condition
from overnight.runs.comparing_trials import compare_treatments, treatments_record, with_adjusted
from overnight.runs.score_columns import read_score_columns
from overnight.runs.statistics_record import mcnemar_record, metric_record, stats_config
from overnight.spec.prompt_sweep import StatisticsSpec
from overnight.stats.cochran import CochranQ
from overnight.stats.compare import (
    METRICS,
    OPTIONAL_METRICS,
    Comparison,
    adjust,
    compare_arms,
    metric_margin,
)
from overnight.stats.paired import PairedStatistics
from overnight.store.files import write_json
from overnight.store.run_folder import RunFolder

SCHEMA_VERSION = 3


def compare_trial(folder: RunFolder, slug: str, settings: StatisticsSpec) -> list[Comparison]:
    """Return the comparisons of one trial: by temperature, by type, by metric.

    Raises:
        StoreError: the trial has no scores, or they are damaged.
    """
    return compare_scores(folder.trial(slug).scores, settings)


def compare_scores(path: Path, settings: StatisticsSpec) -> list[Comparison]:
    """Return the comparisons of one ``per_item_scores.csv``: by temperature, by type, by metric.

    Raises:
        StoreError: the file is missing or damaged.
    """
    columns = read_score_columns(path)
    return [
        compare_arms(
            columns.arm(temperature, kind, Condition.CONTROL, metric),
            columns.arm(temperature, kind, Condition.TREATMENT, metric),
            metric=metric,
            type=kind,
            temperature=temperature,
            seed=settings.seed,
            n_resamples=settings.resamples,
            confidence=settings.confidence,
            clusters=columns.clusters,
            margin=metric_margin(metric, settings.tost_margins, settings.tost_alpha),
        )
        for temperature, kind in columns.kinds()
        for metric in METRICS[kind]
        if metric not in OPTIONAL_METRICS or columns.has(metric, temperature, kind)
    ]


def write_significance(
    folder: RunFolder, by_trial: Mapping[str, list[Comparison]], settings: StatisticsSpec
) -> None:
    """Compare trials among each other, adjust all p-values of the run together, and write both.

    Each trial gets its ``significance.json``, the run its ``comparisons.json``.
    """
    groups, refused = compare_treatments(folder, list(by_trial), settings)
    tests: list[PairedStatistics | CochranQ] = [each for own in by_trial.values() for each in own]
    for cell in (cell for group in groups for cell in group.cells):
        tests += [*cell.pairs, cell.cochran]
    adjusted = adjust(tests)
    n_tests = sum(test.p_value is not None for test in adjusted)
    remaining = iter(adjusted)
    for slug, comparisons in by_trial.items():
        own = [test for test in islice(remaining, len(comparisons)) if isinstance(test, Comparison)]
        write_json(folder.trial(slug).significance, significance_record(own, settings, n_tests=n_tests))
    groups = with_adjusted(groups, remaining)
    write_json(folder.comparisons, treatments_record(groups, refused, settings, n_tests=n_tests))


def significance_record(
    comparisons: list[Comparison], settings: StatisticsSpec, *, n_tests: int
) -> dict[str, Any]:
    """Return ``significance.json``; what is undefined is null and says why."""
    results: dict[str, dict[str, Any]] = {}
    for comparison in comparisons:
        cell = results.setdefault(temperature_label(comparison.temperature), {}).setdefault(
            comparison.type.value, {"n_items": 0, "n_clusters": 0, "mcnemar": None, "metrics": {}}
        )
        cell["n_items"] = max(cell["n_items"], comparison.n_pairs)
        cell["n_clusters"] = max(cell["n_clusters"], comparison.n_clusters)
        cell["mcnemar"] = cell["mcnemar"] or mcnemar_record(comparison)
        cell["metrics"][comparison.metric] = metric_record(comparison)
    return {
        "schema_version": SCHEMA_VERSION,
        "temps": list(results),
        "difference": "treatment - control",
        "stats_config": stats_config(settings, n_tests=n_tests),
        "results": results,
    }
