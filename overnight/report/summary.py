"""``summary.csv``: every comparison of a run, one row each, with numbers as they were computed."""

import csv
from collections.abc import Iterator
from pathlib import Path

from overnight.ids import temperature_label
from overnight.report.comparisons import Cell, Extras, MetricRow
from overnight.report.results import RunReport, TrialReport
from overnight.store.files import atomic_writer

COLUMNS = (
    "trial",
    "model",
    "prompt_set",
    "top_p",
    "top_k",
    "max_new_tokens_closed",
    "max_new_tokens_open",
    "state",
    "temperature",
    "type",
    "metric",
    "n_pairs",
    "n_unpaired",
    "n_half_defined",
    "n_undefined",
    "pairing_rate",
    "mean_control",
    "mean_treatment",
    "delta",
    "ci_low",
    "ci_high",
    "p_value",
    "q_value",
    "mcnemar_b",
    "mcnemar_c",
    "odds_ratio",
    "odds_ratio_low",
    "odds_ratio_high",
    "undefined_because",
    "mcnemar_p_mid",
    "hodges_lehmann",
    "cohens_dz",
    "rank_biserial",
    "sign_statistic",
    "wilcoxon_p",
    "permutation_p",
    "q_value_by",
    "p_holm",
    "equivalence_margin",
    "equivalence_p",
    "is_equivalent",
    "p_non_inferior",
    "is_non_inferior",
    "ci_method",
)


def write_summary(path: Path, run: RunReport) -> None:
    """Write the table; a missing value is empty, a trial without comparisons has one row with its state."""
    with atomic_writer(path) as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        for trial in run.trials:
            table.writerows(_rows(trial))


def _rows(trial: TrialReport) -> Iterator[dict[str, object]]:
    limits = trial.requested["max_new_tokens"]
    same: dict[str, object] = {
        "trial": trial.slug,
        "model": trial.model,
        "prompt_set": trial.prompt_set,
        "top_p": trial.requested["top_p"],
        "top_k": trial.requested["top_k"],
        "max_new_tokens_closed": limits["closed"],
        "max_new_tokens_open": limits["open"],
        "state": trial.state.value,
    }
    if not trial.cells:
        yield same
    for cell in trial.cells:
        for row in cell.metrics:
            yield same | _numbers(cell, row)


def _numbers(cell: Cell, row: MetricRow) -> dict[str, object]:
    numbers: dict[str, object] = {
        name: getattr(row, name) for name in MetricRow.__slots__ if name != "extras"
    }
    numbers |= {"temperature": temperature_label(cell.temperature), "type": cell.type.value}
    numbers |= {name: getattr(row.extras, name) for name in Extras.__slots__ if name in COLUMNS}
    if tost := row.extras.equivalence:
        numbers |= {"equivalence_margin": tost.margin, "equivalence_p": tost.p_value}
        numbers |= {n: getattr(tost, n) for n in ("is_equivalent", "p_non_inferior", "is_non_inferior")}
    if row.metric == "em" and cell.mcnemar:
        test = cell.mcnemar
        numbers |= {"mcnemar_b": test.b, "mcnemar_c": test.c, "mcnemar_p_mid": test.p_mid}
        numbers |= {name: getattr(test, name) for name in ("odds_ratio", "odds_ratio_low", "odds_ratio_high")}
    return numbers
