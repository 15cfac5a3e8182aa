import json
import subprocess
import sys

import pytest

# Each takes between a tenth of a second and several; `overnight --help` is to be there in half of one.
HEAVY = {"torch", "transformers", "pandas", "prefect", "wandb", "xllamacpp", "scipy", "matplotlib"}
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
    report = "import json, sys; sys.stderr.write(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True, timeout=60
    )
    imported = {name.partition(".")[0] for name in json.loads(done.stderr)}
    assert "overnight" in imported
    assert imported & HEAVY == set()
