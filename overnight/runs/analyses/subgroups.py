"""``subgroups.json``: the difference in each dataset, with and without an answer, and all of them pooled."""

import math
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from overnight.errors import UndefinedMetricError
from overnight.runs.analyses.source import AnalysisSource, Record, by_cell, defined
from overnight.runs.score_arrays import BoolArray, ScoreTable
from overnight.stats.clustered import clustered_mean
from overnight.stats.pooling import Effect, normal_interval, pool

METRICS = ("em", "f1")


def subgroups_record(source: AnalysisSource) -> Record:
    """Return the em and f1 differences by dataset and by answerability, and their pooling."""
    confidence = source.settings.confidence

    def cell(temperature: float, _kind: str, items: BoolArray) -> Record:
        return {
            grouping: {
                metric: _grouping(source.table, temperature, metric, groups, confidence) for metric in METRICS
            }
            for grouping, groups in _groupings(source.table, items).items()
        }

    return {
        "difference": "treatment - control",
        "standard_error": "of the paired differences, robust to several items on one passage",
        "pooling": "weights 1 / SE^2 (fixed), DerSimonian-Laird (random); subgroups are taken as independent",
        "interval": "normal",
        "confidence": confidence,
        "results": by_cell(source, cell),
    }


def _groupings(table: ScoreTable, items: BoolArray) -> dict[str, dict[str, BoolArray]]:
    return {
        "dataset": {str(name): items & (table.datasets == name) for name in np.unique(table.datasets[items])},
        "answerability": {
            name: mask
            for name, value in (("answerable", 1.0), ("unanswerable", 0.0))
            if (mask := items & (table.answerable == value)).any()
        },
    }


def _grouping(
    table: ScoreTable, temperature: float, metric: str, groups: Mapping[str, BoolArray], confidence: float
) -> Record:
    differences = table.differences(temperature, metric)
    records: Record = {}
    effects, clusters = [], []
    for name, mask in groups.items():
        paired = defined(differences, mask)
        records[name] = record = _subgroup(table, temperature, metric, paired, confidence)
        if record["undefined_because"] is None:
            effects.append(Effect(name=name, mean=record["mean_difference"], se=record["se"]))
            clusters.append(np.unique(table.clusters[paired]))
    shared = sum(map(len, clusters)) - len(np.unique(np.concatenate(clusters))) if clusters else 0
    pooled: Record = {"n_pooled": len(effects), "left_out": [n for n in groups if not _is_in(n, effects)]}
    try:
        found = asdict(pool(effects, confidence=confidence))
        if found["prediction"] is None:
            found["prediction_undefined_because"] = "a prediction interval takes three subgroups"
        pooled |= found | {"n_shared_clusters": shared, "undefined_because": None}
    except UndefinedMetricError as error:
        pooled |= {"fixed": None, "random": None, "undefined_because": str(error)}
    return {"subgroups": records, "pooled": pooled}


def _subgroup(
    table: ScoreTable, temperature: float, metric: str, paired: BoolArray, confidence: float
) -> Record:
    values = table.differences(temperature, metric)[paired]
    if not len(values):
        return {"n_pairs": 0, "undefined_because": "no item has a value in both arms"}
    mean = clustered_mean(values, table.clusters[paired])
    record: Record = {
        "n_pairs": mean.n,
        "n_clusters": mean.n_clusters,
        "mean_difference": mean.mean,
        "se": mean.se,
        "ci": None,
        "undefined_because": None,
    }
    if mean.se is None:
        why = f"{mean.n} pairs in {mean.n_clusters} cluster have no standard error"
        return record | {"undefined_because": why}
    if mean.se == 0.0 or not math.isfinite(mean.se**-2.0):
        return record | {"undefined_because": "the differences do not vary; such a subgroup has no weight"}
    return record | {"ci": list(normal_interval(mean.mean, mean.se, confidence))}


def _is_in(name: str, effects: list[Effect]) -> bool:
    return any(effect.name == name for effect in effects)
