"""``analysis_summary.json``: a run in one file, for scripts and for people who do not open a report."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from overnight.report.uncertainty.best import best_measures, best_trials, shown
from overnight.report.uncertainty.findings import findings
from overnight.report.uncertainty.naming import measure_title
from overnight.stats.cell_tests import ASSUMPTIONS
from overnight.stats.model_cells import Factor
from overnight.store.files import write_json
from overnight.uncertainty.analysis import Analysis, LabelResult, TrialResult

Record = dict[str, Any]


def write_summary(path: Path, analysis: Analysis) -> None:
    """Write the summary of a run: strict JSON, null where something is undefined."""
    write_json(path, summary_record(analysis))


def summary_record(analysis: Analysis) -> Record:
    """Return the summary of a run; its first three keys are the ones that people know."""
    return {
        "experiment_overview": _overview(analysis),
        "best_performers": {
            "by_trial": [asdict(one) for one in best_trials(analysis)],
            "by_measure": [asdict(one) for one in best_measures(analysis)],
        },
        "statistics": _statistics(analysis),
        "findings": [asdict(one) for one in findings(analysis)],
        "contrasts": asdict(analysis.contrasts),
        "model_comparisons": [asdict(one) for one in analysis.models],
        "measure_comparisons": [
            {**_place(trial, label), **asdict(test)}
            for trial, label in _labels(analysis)
            for test in label.differences
        ],
        "cell_tests": {"assumptions": ASSUMPTIONS, "tests": [asdict(one) for one in analysis.cell_tests]},
        "correlations": [
            {**_place(trial), **asdict(one.correlation), **asdict(one.adjusted)}
            for trial in analysis.trials
            for one in trial.correlations
        ],
        "length_control": [
            {**_place(trial, label), "measure": one.measure, **asdict(one.length), **asdict(one.length_p)}
            for trial, label in _labels(analysis)
            for one in label.measures
        ],
        "calibration": [
            {**_place(trial, label), **asdict(one)}
            for trial, label in _labels(analysis)
            for one in label.calibrations
        ],
        "label_agreement": [
            {**_place(trial), **asdict(one), "n": one.n, "raw": one.raw}
            for trial in analysis.trials
            for one in trial.agreements
        ],
        "surprising_answers": [
            {
                **_place(trial),
                "most_certain_wrong": [asdict(one) for one in trial.most_certain_wrong],
                "least_certain_right": [asdict(one) for one in trial.least_certain_right],
            }
            for trial in analysis.trials
        ],
        "degenerate": [asdict(one) for one in analysis.degenerate()],
    }


def _overview(analysis: Analysis) -> Record:
    models = {trial.model.name: trial.model for trial in analysis.trials}
    return {
        "run_id": analysis.run_id,
        "experiment": analysis.experiment,
        "is_dry_run": analysis.is_dry_run,
        "n_trials": len(analysis.trials),
        "n_items": sum(trial.n_items for trial in analysis.trials),
        "models": [asdict(model) for model in models.values()],
        "datasets": sorted({trial.dataset for trial in analysis.trials}),
        "measures": list(analysis.measures),
        "labels": list(analysis.labels),
        "shown_measure": analysis.measure,
        "shown_label": analysis.label,
        "settings": asdict(analysis.settings),
    }


def _statistics(analysis: Analysis) -> Record:
    """Return how the trials lie, and the means of their groups; degenerate trials are in no number of AUROC."""
    cells = shown(analysis)
    return {
        "AUROC": _described([one.result.auroc for one in cells if one.result]),
        "Accuracy": _described([one.label.accuracy for one in cells if one.label]),
        f"Mean_{measure_title(analysis.measure)}": _described(
            [one.result.spread.mean for one in cells if one.result]
        ),
        **{f"by_{factor}": [asdict(one) for one in analysis.means_of(factor)] for factor in Factor},
    }


def _described(values: Sequence[float | None]) -> Record:
    found = sorted(value for value in values if value is not None)
    return {
        "count": len(found),
        "mean": statistics.fmean(found) if found else None,
        "std": statistics.stdev(found) if len(found) > 1 else None,
        "min": found[0] if found else None,
        "median": statistics.median(found) if found else None,
        "max": found[-1] if found else None,
    }


def _labels(analysis: Analysis) -> list[tuple[TrialResult, LabelResult]]:
    return [(trial, label) for trial in analysis.trials for label in trial.labels]


def _place(trial: TrialResult, label: LabelResult | None = None) -> Record:
    where = {"slug": trial.slug, "model": trial.model.name, "dataset": trial.dataset}
    return where if label is None else {**where, "label": label.label}
