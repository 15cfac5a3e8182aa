"""``power_analysis.json``: what these pairs could have shown, and how many the next comparison takes."""

from overnight.errors import UndefinedMetricError
from overnight.ids import number_label
from overnight.runs.analyses.source import AnalysisSource, Record, by_cell, defined
from overnight.runs.score_arrays import BoolArray, ScoreTable
from overnight.stats.achieved_power import achieved_power
from overnight.stats.clustered import clustered_mean

METRICS = ("em", "f1", "false_answer_rate")
TARGETS = (0.02, 0.05, 0.10)
ALPHA = 0.05
POWER = 0.8


def power_record(source: AnalysisSource) -> Record:
    """Return the smallest detectable difference and the pairs needed, by temperature, type and metric."""

    def cell(temperature: float, _kind: str, items: BoolArray) -> Record:
        return {metric: _metric(source.table, temperature, metric, items) for metric in METRICS}

    return {
        "alpha": ALPHA,
        "power": POWER,
        "targets": list(TARGETS),
        "metrics": list(METRICS),
        "method": "two-sided normal approximation on the paired differences; passages counted as clusters",
        "results": by_cell(source, cell),
    }


def _metric(table: ScoreTable, temperature: float, metric: str, items: BoolArray) -> Record:
    differences = table.differences(temperature, metric)
    paired = defined(differences, items)
    record: Record = {
        "n_items": int(paired.sum()),
        "mean_delta": None,
        "sd_delta": None,
        "design_effect": None,
        "mde": None,
        "required_n_for_target": None,
        "undefined_because": None,
    }
    try:
        mean = clustered_mean(differences[paired], table.clusters[paired])
        record |= {"mean_delta": mean.mean, "sd_delta": mean.sd, "design_effect": mean.design_effect}
        achieved = achieved_power(mean, TARGETS, alpha=ALPHA, power=POWER)
    except UndefinedMetricError as error:
        return record | {"undefined_because": str(error)}
    return record | {
        "mde": achieved.smallest_detectable,
        "required_n_for_target": {number_label(t): n for t, n in achieved.required_pairs.items()},
    }
