"""``mixed_models.json``: the effect of the prompt in one model of all replies."""

from collections.abc import Callable
from dataclasses import asdict

import numpy as np

from overnight.errors import UndefinedMetricError
from overnight.records import Condition
from overnight.runs.analyses.source import AnalysisSource, Record, defined
from overnight.runs.score_arrays import BoolArray, ScoreTable
from overnight.stats.clustered import IntArray
from overnight.stats.pairs import FloatArray
from overnight.stats.rng import stream
from overnight.stats.robustness import Fit, LongTable, fit_clustered_ols, fit_gee

MOST_ITEMS = 20_000  # a GEE visits its groups one by one: seconds here, minutes at a million


def models_record(source: AnalysisSource) -> Record:
    """Return a GEE of em and an OLS of f1 on condition and temperature, by item type."""
    table, confidence = source.table, source.settings.confidence
    results: Record = {}
    for kind, items in table.of_kinds().items():
        fitted = _sampled(items, stream(source.settings.seed, "mixed models", kind))
        each_its_own = np.arange(len(table.items))
        results[kind] = {
            "n_items": int(items.sum()),
            "n_items_fitted": int(fitted.sum()),
            "gee_em": _fitted(fit_gee, _long(table, fitted, "em", each_its_own), confidence),
            "ols_f1": _fitted(fit_clustered_ols, _long(table, fitted, "f1", table.clusters), confidence),
        }
    return {
        "note": "marginal models with robust standard errors; there are no random effects in them",
        "rows": "one an item, condition and temperature; several draws count by their mean",
        "models": {
            "gee_em": "em ~ treatment x centred temperature; binomial GEE with logit link, exchangeable "
            "working correlation, groups = items; estimates are log odds",
            "ols_f1": "f1 ~ treatment x centred temperature; ordinary least squares, standard errors "
            "clustered by passage, t with clusters - 1 degrees of freedom; estimates are differences in f1",
        },
        "confidence": confidence,
        "most_items": MOST_ITEMS,
        "results": results,
    }


def _sampled(items: BoolArray, rng: np.random.Generator) -> BoolArray:
    """Return at most `MOST_ITEMS` of the items, a seeded sample."""
    chosen = np.flatnonzero(items)
    if len(chosen) <= MOST_ITEMS:
        return items
    mask = np.zeros(len(items), dtype=bool)
    mask[rng.choice(chosen, size=MOST_ITEMS, replace=False)] = True
    return mask


def _long(table: ScoreTable, items: BoolArray, metric: str, groups: IntArray) -> LongTable:
    parts: list[tuple[FloatArray, FloatArray, FloatArray, IntArray]] = []
    for (condition, temperature), columns in sorted(table.arms.items()):
        rows = defined(columns[metric], items)
        n_rows = int(rows.sum())
        treatment: FloatArray = np.full(n_rows, float(condition is Condition.TREATMENT))
        level: FloatArray = np.full(n_rows, temperature)
        parts.append((columns[metric][rows], treatment, level, groups[rows]))
    outcome, is_treatment, temperatures, group = (
        np.concatenate(columns) for columns in zip(*parts, strict=True)
    )
    return LongTable(outcome=outcome, is_treatment=is_treatment, temperature=temperatures, group=group)


def _fitted(fit: Callable[..., Fit], rows: LongTable, confidence: float) -> Record:
    try:
        return asdict(fit(rows, confidence=confidence)) | {"undefined_because": None}
    except UndefinedMetricError as error:
        return {"n_rows": len(rows.outcome), "terms": None, "undefined_because": str(error)}
