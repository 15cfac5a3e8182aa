"""The measures of uncertainty against LM-Polygraph's own, on the same model and prompts, item by item.

It is installed into an environment of its own (2.2 GB, once) below the user's cache folder, or the folder that
``OVERNIGHT_TEST_ENVIRONMENTS`` names.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

_SCRIPT = Path(__file__).parents[2] / "benchmarks" / "uncertainty.py"
_N_ITEMS = 12


@pytest.fixture(scope="module")
def figures(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    out = tmp_path_factory.mktemp("polygraph") / "figures.json"
    environments = os.environ.get("OVERNIGHT_TEST_ENVIRONMENTS", str(model_cache / "benchmarks"))
    asked = ["--items", str(_N_ITEMS), "--repeat", "0", "--environments", environments, "--out", str(out)]
    env = os.environ | {"OVERNIGHT_CACHE_DIR": str(model_cache)}
    run = subprocess.run(
        [sys.executable, str(_SCRIPT), *asked], env=env, capture_output=True, text=True, check=False
    )
    if run.stdout.startswith("not measured: pip cannot install"):
        pytest.skip(run.stdout.strip())
    assert run.returncode == 0, run.stdout + run.stderr
    return {figure["name"]: figure for figure in json.loads(out.read_text())["figures"]}


def test_greedy_answers_are_those_of_lm_polygraph(figures: dict[str, dict]) -> None:
    # Prompts are the same ids on both sides; a padded batch may break a tie between two tokens the other way.
    assert figures["answers that are LM-Polygraph's to the letter"]["value"]["median"] >= 0.9


@pytest.mark.parametrize("measure", ["MaximumSequenceProbability", "Perplexity", "TokenSAR"])
def test_values_are_those_of_lm_polygraph(figures: dict[str, dict], measure: str) -> None:
    assert figures[f"{measure}: largest relative difference"]["value"]["max"] <= 1e-4
