import json
import subprocess
import sys

import pytest

# Each takes between a tenth of a second and several; `overnight --help` is to be there in half of one.
HEAVY = {"torch", "transformers", "pandas", "prefect", "wandb", "xllamacpp", "scipy", "matplotlib"}
# A run asks its first question before it needs any of these; each delays that by up to three seconds.
LATER = HEAVY - {"prefect"} | {"sklearn", "statsmodels", "pyarrow"}
FLOWS = "import flows.prompt_sweep, flows.uncertainty_sweep, flows.trait_capture, flows.best_of_k_sweep"
HELP = """
from overnight.cli import main
try:
    main(["--help"])
except SystemExit as leaving:
    assert leaving.code == 0
"""


@pytest.mark.parametrize(
    "code",
    ["import overnight", "import overnight.cli", "import overnight.cli.views", HELP],
    ids=["overnight", "cli", "list, show and stop", "help"],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    assert imported_by(code) & HEAVY == set()


def test_a_flow_imports_what_is_for_its_end_at_its_end() -> None:
    assert imported_by(FLOWS) & LATER == set()


def test_the_api_of_a_run_is_begun_before_prefect_is_imported() -> None:
    # Both take seconds, and they are two processes.
    assert imported_by("import overnight.cli.running, flows.api_process") & HEAVY == set()


def imported_by(code: str) -> set[str]:
    report = "import json, sys; sys.stderr.write(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True, timeout=60
    )
    imported = {name.partition(".")[0] for name in json.loads(done.stderr)}
    assert "overnight" in imported
    return imported
