"""What a tracker is told of the trials of a prompt sweep."""

import csv

import pytest

from overnight.report.reading import read_run
from overnight.report.summary import write_summary
from overnight.report.tracked import tracked_trials
from overnight.store.manifest import read_manifest


def test_the_numbers_of_the_summary_are_metrics_and_its_rows_a_table(
    make_run, trial, questions, better_replies
) -> None:
    folder = make_run([trial("brief", better_replies)], questions)
    write_summary(folder.summary, read_run(folder))
    (found,) = tracked_trials(folder, read_manifest(folder))

    rows = {row["metric"]: row for row in csv.DictReader(folder.summary.read_text().splitlines())}
    for name in ("n_pairs", "delta", "ci_low", "ci_high", "p_value", "q_value", "mcnemar_b"):
        assert found.metrics[f"closed/em/temp_0.0/{name}"] == pytest.approx(float(rows["em"][name]))
    # 12 pairs, of which 10 are right only in treatment: by hand.
    assert found.metrics["closed/em/temp_0.0/delta"] == pytest.approx(10 / 12)
    assert "closed/em/temp_0.0/undefined_because" not in found.metrics
    assert found.config["prompt_set"] == "brief"
    assert found.table is not None
    assert found.table.name == "comparisons"
    assert len(found.table.rows) == len(rows)
