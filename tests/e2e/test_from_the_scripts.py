"""Every command line of the guide for people who come from the scripts, as it stands there."""

import re
import shlex
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "from-the-scripts.md"


def command_lines() -> list[list[str]]:
    blocks = re.findall(r"^```\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]
    return [shlex.split(line) for line in lines]


def rehearsed(words: list[str]) -> list[str]:
    """Return a run's command line without a model, and without its trials where no later line names the run."""
    if words[0] != "run":
        return words
    options = [] if "--dry_run" in words else ["--dry_run"]
    if not {"--run_id", "--resume", "--plan_only"} & set(words):
        options.append("--plan_only")
    return [*words, *options]


@pytest.mark.slow
def test_every_command_line_of_the_guide_does_what_it_says(overnight) -> None:
    commands = command_lines()
    assert {words[0] for words in commands} == {"overnight"}
    assert len(commands) > 20
    for _, *words in commands:
        tables = sorted(overnight.run_folder("first").glob("*/results/costs.json"))
        trial = tables[0].parent.parent.name if tables else "TRIAL"
        overnight(*(word.replace("TRIAL", trial) for word in rehearsed(words)))
    # What the guide promises of the lines that name a run.
    assert overnight.manifest("second")["state"] == "done"
    assert overnight.manifest("third")["state"] == "done"
    rescored = overnight.folder / "rescored"
    (first, *_) = overnight.run_folder("first").glob("*/results/per_item_scores.csv")
    assert sorted(path.name for path in rescored.iterdir()) == [
        "costs.json",
        "per_item_scores.csv",
        "prompts.json",
        "score_summary.json",
        "significance.json",
        "squad.json",
    ]
    assert (rescored / "per_item_scores.csv").read_bytes() == first.read_bytes()
