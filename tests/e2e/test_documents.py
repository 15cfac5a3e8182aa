"""The first commands that README and the pages of the experiments show, carried out as they stand there."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.docs.pages import PAGES, ROOT, blocks, commands

QUICKSTARTS = sorted(
    {
        words[2]
        for page in PAGES
        for block in blocks(page)
        for words in commands(block)
        if words[:2] == ["overnight", "run"] and len(words) == 3 and "quickstart" in words[2]
    }
)
FOLDER = next(block.text for block in blocks(ROOT / "README.md") if block.text.startswith("experiments/run_"))


@pytest.mark.slow
@pytest.mark.parametrize("sweep", QUICKSTARTS)
def test_a_quickstart_does_what_its_page_says(sweep: str, overnight, tmp_path: Path) -> None:
    line = replace(overnight, folder=tmp_path, reuses_answers=True)  # as it stands: nothing is added
    line("run", str(ROOT / sweep) if "/" in sweep else sweep)
    (run,) = (tmp_path / "experiments").iterdir()
    name = run.name.removeprefix("run_")
    assert line.manifest(name)["state"] == "done"
    assert (run / "aggregate_report.md").is_file()
    # What README shows next, with the run that there is.
    assert name in line("list")
    for command in ("show", "report", "verify", "doctor"):
        line(command, run.name)
    if sweep.startswith("config/"):
        written = {path.name for path in run.rglob("*")}
        assert set(re.findall(r"\w+\.(?:md|html|csv|json|jsonl|yaml)\b", FOLDER)) <= written
        assert {"figures", "items", "batch_inputs", "results", "reports"} <= written


def test_every_experiment_has_a_quickstart_that_is_shown() -> None:
    assert [Path(sweep).stem for sweep in QUICKSTARTS] == [
        "quickstart",
        "k-sweep-quickstart",
        "traits-quickstart",
        "uncertainty-quickstart",
    ]
