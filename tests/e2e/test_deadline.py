"""A night that is too short, with the real engine and the clock on the wall."""

import csv
from datetime import datetime, timedelta

import pytest

SWEEP = (
    "quickstart",
    *("--limit-items", "60"),
    *("--prompt-sets", "short_answer,calibrated"),
    *("--temps", "0"),
    *("--set", "experiment.defaults.max_new_tokens={closed: 24, open: 24}"),
)


@pytest.mark.slow
def test_a_deadline_leaves_pairs_in_every_trial_and_a_resume_the_tables_of_a_run_without_one(
    overnight, tables_of
) -> None:
    # Two minutes from now on the clock's face are between one and two minutes away; the sweep takes longer.
    deadline = datetime.now() + timedelta(minutes=2)  # noqa: DTZ005 - the wall's clock is what is meant
    said = overnight("run", *SWEEP, "--run-id", "cut", "--deadline", f"{deadline:%H:%M}", expect=130)
    assert datetime.now() < deadline.replace(second=59)  # noqa: DTZ005
    assert "the deadline came with" in said

    manifest = overnight.manifest("cut")
    assert manifest["state"] == "stopped"
    asked = {}
    for slug, record in manifest["trials"].items():
        assert record["state"] == "stopped"
        assert "items are complete in every arm" in record["error"]
        with (overnight.run_folder("cut") / slug / "results/per_item_scores.csv").open() as file:
            rows = list(csv.DictReader(file))
        arms = {
            row["condition"]: {r["item_key"] for r in rows if r["condition"] == row["condition"]}
            for row in rows
        }
        assert arms["control"] == arms["treatment"] != set()
        asked[slug] = arms["control"]
        assert (overnight.run_folder("cut") / slug / "results/significance.json").is_file()
    first, second = asked.values()
    assert len(first & second) >= 0.5 * max(len(first), len(second))
    assert (overnight.run_folder("cut") / "report.html").is_file()

    overnight("resume", "cut", "--deadline", "none")
    overnight("run", *SWEEP, "--run-id", "whole")
    assert overnight.manifest("cut")["state"] == "done"
    assert tables_of(overnight.run_folder("cut")) == tables_of(overnight.run_folder("whole"))
