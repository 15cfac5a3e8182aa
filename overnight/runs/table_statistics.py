"""The statistics of a table that belongs to no run."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from overnight.errors import UsageError
from overnight.runs.comparing import compare_scores, significance_record
from overnight.runs.statistics_record import pair_record, stats_config, system_record
from overnight.runs.wide_scores import read_wide_scores
from overnight.spec.prompt_sweep import StatisticsSpec
from overnight.stats.compare import Comparison, adjust, metric_margin
from overnight.stats.systems import SystemsComparison, compare_systems

SYSTEMS_SCHEMA_VERSION = 1


def arms_of_table(path: Path, settings: StatisticsSpec) -> tuple[list[Comparison], dict[str, Any]]:
    """Return the comparisons of a ``per_item_scores.csv``, adjusted, and their ``significance.json``.

    Raises:
        UsageError: the table has no rows.
        StoreError: the table is missing or damaged.
    """
    comparisons = adjust(compare_scores(path, settings))
    if not comparisons:
        raise UsageError(f"{path}: no rows below the header; there is nothing to compare")
    n_tests = sum(each.p_value is not None for each in comparisons)
    return comparisons, significance_record(comparisons, settings, n_tests=n_tests)


def systems_of_table(
    path: Path, metric: str, settings: StatisticsSpec
) -> tuple[SystemsComparison, dict[str, Any]]:
    """Return the comparison of the systems of a wide table, and its ``comparisons.json``.

    Raises:
        UsageError: the table has not the metric, or fewer than two systems.
        StoreError: the table is missing or damaged.
    """
    table = read_wide_scores(path, metric)
    compared = compare_systems(
        table.scores,
        metric=metric,
        seed=settings.seed,
        n_resamples=settings.resamples,
        confidence=settings.confidence,
        clusters=table.clusters,
        margin=metric_margin(metric, settings.tost_margins, settings.tost_alpha),
    )
    return compared, systems_record(compared, settings)


def systems_record(compared: SystemsComparison, settings: StatisticsSpec) -> dict[str, Any]:
    """Return ``comparisons.json`` of systems that are compared outside a run."""
    n_tests = sum(pair.p_value is not None for pair in compared.pairs)
    config = stats_config(settings, n_tests=n_tests) | {
        "tests": {compared.metric: "exact McNemar" if compared.is_binary else "sign-flip permutation"}
    }
    return {
        "schema_version": SYSTEMS_SCHEMA_VERSION,
        "metric": compared.metric,
        "is_binary": compared.is_binary,
        "difference": "second - first",
        "stats_config": config,
        "n_items": compared.n_items,
        "n_clusters": compared.n_clusters,
        "systems": [system_record(mean) for mean in compared.systems],
        "cochran": asdict(compared.cochran),
        "pairs": [pair_record(pair) for pair in compared.pairs],
    }
