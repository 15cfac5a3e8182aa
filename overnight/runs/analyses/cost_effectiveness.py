"""``cost_effectiveness.json``: what the treatment's tokens cost more, and what is gained for it."""

from collections import Counter, defaultdict

import numpy as np

from overnight.errors import UndefinedMetricError
from overnight.ids import temperature_label
from overnight.records import Condition
from overnight.runs.analyses.source import AnalysisSource, Record, defined
from overnight.runs.costing import pricing_record
from overnight.runs.score_arrays import ScoreTable
from overnight.runs.tables import read_predictions
from overnight.stats.clustered import clustered_mean
from overnight.stats.pooling import normal_interval
from overnight.stats.price_of_gain import usd_per_point

# A metric, the name of its price, and whether more of it is better.
METRICS = (
    ("em", "usd_per_1pp_gain_em", 1.0),
    ("f1", "usd_per_1pp_gain_f1", 1.0),
    ("false_answer_rate", "usd_per_1pp_reduction_false_answer", -1.0),
)
_NO_TOKENS = "the engine did not count the tokens of every reply"


def cost_effectiveness_record(source: AnalysisSource) -> Record:
    """Return prices, differences with intervals and prices per gain, by temperature."""
    sums = _tokens(source)
    results = {}
    for temperature in source.table.temperatures:
        arms = {c: _arm(source, c, temperature, sums[c.value, temperature]) for c in Condition}
        prices = [arms[condition]["usd"] for condition in (Condition.CONTROL, Condition.TREATMENT)]
        difference = None if None in prices else prices[1] - prices[0]
        deltas = {
            metric: _delta(source, temperature, metric, sign, difference) for metric, _, sign in METRICS
        }
        results[temperature_label(temperature)] = {
            "usd_control": prices[0],
            "usd_treatment": prices[1],
            "usd_diff": difference,
            "undefined_because": _NO_TOKENS if difference is None else _reasons(deltas),
            "by_condition": {condition.value: record for condition, record in arms.items()},
            "delta_metrics": deltas,
            **{name: deltas[metric]["usd_per_1pp"] for metric, name, _ in METRICS},
        }
    return {
        "pricing": pricing_record(source.pricing, source.trial.model.name),
        "difference": "treatment - control",
        "gain": "the difference of em and f1, the fall of false_answer_rate; a loss has no price per gain",
        "interval": "normal, standard error robust to several items on one passage",
        "confidence": source.settings.confidence,
        "results": results,
    }


def _tokens(source: AnalysisSource) -> dict[tuple[str, float], Counter[str]]:
    """Return tokens and draws by arm; a failed draw has no reply and is not counted."""
    sums: dict[tuple[str, float], Counter[str]] = defaultdict(Counter)
    for row in read_predictions(source.folder.predictions):
        if row["finish_reason"] == "error":
            continue
        arm = sums[row["condition"], float(row["temp"])]
        arm["n_draws"] += 1
        if row["prompt_tokens"] and row["completion_tokens"]:
            arm["n_counted"] += 1
            arm["prompt_tokens"] += int(row["prompt_tokens"])
            arm["completion_tokens"] += int(row["completion_tokens"])
    return sums


def _arm(source: AnalysisSource, condition: Condition, temperature: float, sums: Counter[str]) -> Record:
    n_right = _right_draws(source.table, condition, temperature)
    record: Record = {
        "n_draws": sums["n_draws"],
        "n_right": n_right,
        "prompt_tokens": None,
        "completion_tokens": None,
        "usd": None,
        "tokens_per_right_answer": None,
        "usd_per_right_answer": None,
        "undefined_because": None,
    }
    if not sums["n_draws"] or sums["n_counted"] < sums["n_draws"]:
        return record | {"undefined_because": _NO_TOKENS}
    prompt, completion = sums["prompt_tokens"], sums["completion_tokens"]
    price = source.pricing.rates(source.trial.model.name).usd(prompt, completion)
    record |= {"prompt_tokens": prompt, "completion_tokens": completion, "usd": price}
    if n_right <= 0:
        return record | {"undefined_because": "no right answer to divide by"}
    return record | {
        "tokens_per_right_answer": (prompt + completion) / n_right,
        "usd_per_right_answer": price / n_right,
    }


def _right_draws(table: ScoreTable, condition: Condition, temperature: float) -> float:
    """Return how many draws are right; an item's mean times its draws."""
    right = table.values(condition, temperature, "em") * table.values(condition, temperature, "n_samples")
    return float(np.nansum(right))


def _reasons(deltas: dict[str, Record]) -> str | None:
    """Return why some gains have no price, or None where all have one."""
    missing = [f"{name}: {d['undefined_because']}" for name, d in deltas.items() if d["usd_per_1pp"] is None]
    return "; ".join(missing) or None


def _delta(
    source: AnalysisSource, temperature: float, metric: str, sign: float, usd_difference: float | None
) -> Record:
    table = source.table
    differences = table.differences(temperature, metric)
    paired = defined(differences, np.ones(len(table.items), dtype=bool))
    record: Record = {
        "n_pairs": int(paired.sum()),
        "delta": None,
        "ci": None,
        "is_gain": None,
        "interval_holds_zero": None,
        "usd_per_1pp": None,
        "undefined_because": None,
    }
    try:
        mean = clustered_mean(differences[paired], table.clusters[paired])
    except UndefinedMetricError:
        return record | {"undefined_because": f"no item has {metric} in both arms"}
    record |= {"delta": mean.mean, "is_gain": sign * mean.mean > 0}
    if mean.se is None:
        record["ci_undefined_because"] = f"{mean.n} pairs in {mean.n_clusters} cluster have no interval"
    else:
        low, high = normal_interval(mean.mean, mean.se, source.settings.confidence)
        record |= {"ci": [low, high], "interval_holds_zero": low <= 0.0 <= high}
    if usd_difference is None:
        return record | {"undefined_because": _NO_TOKENS}
    try:
        return record | {"usd_per_1pp": usd_per_point(usd_difference, sign * mean.mean)}
    except UndefinedMetricError as error:
        return record | {"undefined_because": str(error)}
