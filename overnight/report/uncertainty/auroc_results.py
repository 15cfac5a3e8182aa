"""``auroc_results.csv`` and ``.json``: a row a model and data set, the columns that people know first."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from overnight.runs.tables import cell, table_writer
from overnight.store.files import write_json
from overnight.uncertainty.analysis import Analysis, LabelResult, MeasureResult, TrialResult

FIRST_COLUMNS: Final = (
    "model_name",
    "model_family",
    "model_size",
    "quantization",
    "dataset",
    "run_id",
    "experiment_lot",
    "G-NLL_AUROC",
    "Accuracy",
    "Num_examples",
    "Num_correct",
    "Num_incorrect",
    "Mean_G-NLL",
    "Std_G-NLL",
    "RW-G-NLL_AUROC",
    "Mean_RW-G-NLL",
    "Std_RW-G-NLL",
)
_SIZES: Final = ((3.5e9, "Small"), (30e9, "Large"), (float("inf"), "XLarge"))  # parameters below
Row = dict[str, Any]


def write_auroc_results(folder: Path, analysis: Analysis) -> None:
    """Write both files. The table has a row a trial, by the label that its column ``label`` names.

    What the other labels say of each measure stands in the last columns; the JSON file holds every result of every
    label in full.
    """
    rows = [result_row(analysis, trial) for trial in analysis.trials]
    columns = dict.fromkeys(column for row in rows for column in row)
    with table_writer(folder / "auroc_results.csv", columns) as table:
        for row in rows:
            table.writerow([cell(row.get(column)) for column in columns])
    write_json(
        folder / "auroc_results.json",
        [
            {**row, "slug": trial.slug, "labels": [_in_full(one) for one in trial.labels]}
            for row, trial in zip(rows, analysis.trials, strict=True)
        ],
    )


def result_row(analysis: Analysis, trial: TrialResult) -> Row:
    """Return the row of one trial; None where something is undefined, with the reason beside it."""
    label = trial.label(analysis.label)
    row: Row = {
        "model_name": trial.model.name,
        "model_family": trial.model.family,
        "model_size": size_band(trial.model.parameters),
        "quantization": trial.model.quantization,
        "dataset": trial.dataset,
        "run_id": analysis.run_id,
        "experiment_lot": analysis.experiment,
        **_known_columns(label),
        "label": analysis.label,
        "parameters": trial.model.parameters,
        "bits_per_weight": trial.model.bits_per_weight,
        "is_instruct": trial.model.is_instruct,
        "accuracy_low": label.accuracy_low if label else None,
        "accuracy_high": label.accuracy_high if label else None,
        "n_common_items": label.n_common if label else None,
        "confidence": analysis.settings.confidence,
    }
    for name in analysis.measures:
        row |= _measure_columns(name, label.measure(name) if label else None)
    for title, reliability in _calibrated(label):
        row |= {f"{title}_ece": reliability[0], f"{title}_brier": reliability[1]}
    for other in analysis.labels:
        if other != analysis.label:
            row |= dict(_by_other_label(analysis, trial, other))
    return row


def size_band(parameters: float) -> str:
    """Return Small, Large or XLarge: as people are used to, by the stated number of parameters."""
    return next(band for below, band in _SIZES if parameters < below)


def _known_columns(label: LabelResult | None) -> Row:
    g_nll, weighted = (label.measure(name) if label else None for name in ("g_nll", "rw_g_nll"))
    return {
        "G-NLL_AUROC": g_nll.auroc if g_nll else None,
        "Accuracy": label.accuracy if label else None,
        "Num_examples": label.n_labelled if label else None,
        "Num_correct": label.n_right if label else None,
        "Num_incorrect": label.n_wrong if label else None,
        "Mean_G-NLL": g_nll.spread.mean if g_nll else None,
        "Std_G-NLL": g_nll.spread.sd if g_nll else None,
        "RW-G-NLL_AUROC": weighted.auroc if weighted else None,
        "Mean_RW-G-NLL": weighted.spread.mean if weighted else None,
        "Std_RW-G-NLL": weighted.spread.sd if weighted else None,
    }


def _measure_columns(name: str, result: MeasureResult | None) -> Row:
    found = result.discrimination if result else None
    ranking = found.ranking if found else None
    spread = result.spread if result else None
    return {
        f"{name}_{column}": value
        for column, value in {
            "auroc": ranking.auroc if ranking else None,
            "auroc_low": ranking.delong.low if ranking else None,
            "auroc_high": ranking.delong.high if ranking else None,
            "auroc_bootstrap_low": ranking.bootstrap.low if ranking else None,
            "auroc_bootstrap_high": ranking.bootstrap.high if ranking else None,
            "tie_share": found.tie_share if found else None,
            "auprc": ranking.auprc if ranking else None,
            "aurc": ranking.aurc if ranking else None,
            "prr": ranking.prediction_rejection_ratio if ranking else None,
            "n_items": found.n_items if found else None,
            "n_missing": spread.n_missing if spread else None,
            "mean": spread.mean if spread else None,
            "std": spread.sd if spread else None,
            "min": spread.low if spread else None,
            "max": spread.high if spread else None,
            "degenerate": str(found.degeneracy) if found and found.degeneracy else None,
            "undefined_because": found.undefined_because if found else "not measured in this trial",
        }.items()
    }


def _calibrated(label: LabelResult | None) -> Iterator[tuple[str, tuple[float | None, float | None]]]:
    for one in label.calibrations if label else ():
        found = one.reliability
        yield (
            f"{one.measure}_as_probability",
            (found.ece if found else None, found.brier if found else None),
        )


def _by_other_label(analysis: Analysis, trial: TrialResult, other: str) -> Iterator[tuple[str, float | None]]:
    label = trial.label(other)
    yield f"accuracy_by_{other}", label.accuracy if label else None
    for name in analysis.measures:
        result = label.measure(name) if label else None
        ranking = result.discrimination.ranking if result else None
        yield f"{name}_auroc_by_{other}", ranking.auroc if ranking else None
        yield f"{name}_auroc_low_by_{other}", ranking.delong.low if ranking else None
        yield f"{name}_auroc_high_by_{other}", ranking.delong.high if ranking else None


def _in_full(label: LabelResult) -> Row:
    """Return everything but the corners of curves, which are there to be drawn."""
    whole = asdict(label)
    for measure in whole["measures"]:
        del measure["roc"], measure["risk_coverage"]
    return whole
