import re
from pathlib import Path

import pytest
import yaml

from overnight.spec.dataset import DatasetFormat, DatasetSpec
from overnight.spec.prompt_sweep import PromptSweepExperiment
from overnight.spec.reading import validate

PAGE = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text(encoding="utf-8")
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


@pytest.mark.parametrize("block", BLOCKS)
def test_every_example_of_the_page_is_valid(block: dict[str, object]) -> None:
    # Reading them needs the files; what they say does not.
    if isinstance(experiment := block.get("experiment"), dict):
        validate(PromptSweepExperiment, experiment, "docs/datasets.md")
    else:
        validate(DatasetSpec, block, "docs/datasets.md")


@pytest.mark.parametrize("form", DatasetFormat)
def test_every_format_is_on_the_page_with_its_defaults(form: DatasetFormat) -> None:
    (row,) = [
        line
        for line in PAGE.splitlines()
        if re.match(rf"\| .*`{form.value}`.* \| .* \| .* \| .* \| .* \|$", line)
    ]
    assert f"| {form.item_type.value} | {form.rule.value} |" in row
