"""``selective_risk.json``: how wrong the answers are that the model is sure of, by arm."""

import numpy as np

from overnight.errors import UndefinedMetricError
from overnight.ids import temperature_label
from overnight.records import Condition
from overnight.runs.analyses.source import AnalysisSource, Record, by_cell
from overnight.runs.score_arrays import BoolArray, ScoreTable
from overnight.stats.bootstrap import Interval
from overnight.stats.pairs import FloatArray
from overnight.stats.ranking import RankedArm, auroc, percentile_interval, ranked_arm, ranking_resamples
from overnight.stats.rng import stream
from overnight.stats.selective_risk import RiskCoverage, risk_coverage

COVERAGES = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
ANSWERED_FROM = 0.5  # an item with several draws is answered where at least half of them answer
_CURVE_POINTS = 100
_MOST_RESAMPLES = 1000  # percentiles hardly move beyond
_FEWEST_RESAMPLES = 200
_MOST_VISITS = 5_000_000  # of items by resamples: a resample visits every item, seconds for this many
_MEASURES = ("aurc", "auroc")


def selective_risk_record(source: AnalysisSource) -> Record:
    """Return risk-coverage curves and AUROC of confidence against correctness, with bootstrap intervals."""

    def cell(temperature: float, kind: str, items: BoolArray) -> Record:
        labels = ("selective risk", kind, temperature_label(temperature))
        rng = stream(source.settings.seed, *labels)
        return _cell(
            source.table,
            temperature,
            items,
            n_resamples=min(source.settings.resamples, _n_resamples(int(items.sum()))),
            confidence=source.settings.confidence,
            rng=rng,
        )

    return {
        "confidence_score": "mean over draws of exp(mean token log-probability)",
        "coverage": "answers over all items with scores; an abstention or an empty reply is not covered",
        "risk": "1 - mean em of the answers",
        "ties": "averaged over all orders of answers with the same confidence",
        "interval": "percentile bootstrap over items, whole passages together, both arms on the same resamples",
        "confidence": source.settings.confidence,
        "coverages": list(COVERAGES),
        "results": by_cell(source, cell),
    }


def _n_resamples(n_items: int) -> int:
    return min(_MOST_RESAMPLES, max(_FEWEST_RESAMPLES, _MOST_VISITS // max(1, n_items)))


def _cell(
    table: ScoreTable,
    temperature: float,
    items: BoolArray,
    *,
    n_resamples: int,
    confidence: float,
    rng: np.random.Generator,
) -> Record:
    records: Record = {"n_resamples": n_resamples}
    ranked: dict[Condition, RankedArm] = {}
    for condition in Condition:
        arm = {
            column: table.values(condition, temperature, column)[items]
            for column in ("confidence", "em", "abstain_rate", "empty_rate")
        }
        is_scored = ~np.isnan(arm["em"])
        answer_rate = 1.0 - arm["abstain_rate"] - np.nan_to_num(arm["empty_rate"])
        is_answered = is_scored & (answer_rate >= ANSWERED_FROM - 1e-9)
        is_sure = is_answered & ~np.isnan(arm["confidence"])
        n_unknown = int((is_answered & ~is_sure).sum())
        record = {"n_items": int(is_scored.sum()) - n_unknown, "n_answers_without_confidence": n_unknown}
        found, curve = _arm(arm["confidence"][is_sure], arm["em"][is_sure], record["n_items"])
        if curve is not None:
            ranked[condition] = ranked_arm(arm["confidence"], arm["em"], is_sure)
        records[condition.value] = record | found
    samples = ranking_resamples(
        list(ranked.values()), table.clusters[items], n_resamples=n_resamples, rng=rng
    )
    areas = dict(zip(ranked, samples, strict=True))
    for condition, both in areas.items():
        record = records[condition.value]
        for measure, resamples in zip(_MEASURES, both, strict=True):
            if record[measure] is not None:
                record |= _bounds(measure, percentile_interval(resamples, confidence))
    records["difference"] = _difference(records, areas, confidence)
    return records


def _arm(confidence: FloatArray, correctness: FloatArray, n_items: int) -> tuple[Record, RiskCoverage | None]:
    record: Record = {
        "n_answered": len(confidence),
        "coverage": len(confidence) / n_items if n_items else None,
        "risk": float(1 - correctness.mean()) if len(confidence) else None,
        "aurc": None,
        "aurc_ci": None,
        "aurc_optimal": None,
        "excess_aurc": None,
        "points": [],
        "curve": [],
        "auroc": None,
        "auroc_ci": None,
        "undefined_because": None,
        "auroc_undefined_because": None,
    }
    try:
        curve = risk_coverage(confidence, correctness, n_items=n_items)
    except UndefinedMetricError as error:
        reason = str(error)
        return record | {"undefined_because": reason, "auroc_undefined_because": reason}, None
    record |= {
        "aurc": curve.aurc,
        "aurc_optimal": curve.aurc_optimal,
        "excess_aurc": curve.excess_aurc,
        "points": [_point(curve, coverage) for coverage in COVERAGES],
        "curve": _thinned(curve),
    }
    try:
        record["auroc"] = auroc(confidence, correctness)
    except UndefinedMetricError as error:
        record["auroc_undefined_because"] = str(error)
    return record, curve


def _point(curve: RiskCoverage, coverage: float) -> Record:
    try:
        return {"coverage": coverage, "risk": curve.risk_at(coverage)}
    except UndefinedMetricError as error:
        return {"coverage": coverage, "risk": None, "undefined_because": str(error)}


def _thinned(curve: RiskCoverage) -> list[Record]:
    """Return at most `_CURVE_POINTS` points of a curve, its last one among them."""
    last = len(curve.thresholds) - 1
    chosen = np.unique(np.linspace(0, last, min(last + 1, _CURVE_POINTS)).round().astype(int))
    return [
        {
            "confidence_from": float(curve.thresholds[at]),
            "coverage": float(curve.n_covered[at]) / curve.n_items,
            "risk": float(curve.n_wrong[at]) / int(curve.n_covered[at]),
        }
        for at in chosen
    ]


def _difference(
    records: Record, areas: dict[Condition, tuple[FloatArray, FloatArray]], confidence: float
) -> Record:
    """Return treatment - control of each area; intervals are of the difference itself, over paired resamples."""
    record: Record = {"difference": "treatment - control"}
    for index, measure in enumerate(_MEASURES):
        values = [records[condition.value][measure] for condition in Condition]
        if None in values:
            record |= {
                measure: None,
                f"{measure}_ci": None,
                "undefined_because": f"{measure} needs both arms",
            }
            continue
        resamples = areas[Condition.TREATMENT][index] - areas[Condition.CONTROL][index]
        control, treatment = values
        interval = percentile_interval(resamples, confidence)
        record |= {measure: treatment - control} | _bounds(measure, interval)
    return record


def _bounds(measure: str, interval: Interval) -> Record:
    if interval.low is None or interval.high is None:
        why = "too many resamples have no two kinds of answers"
        return {f"{measure}_ci": None, f"{measure}_ci_undefined_because": why}
    return {f"{measure}_ci": [interval.low, interval.high]}
