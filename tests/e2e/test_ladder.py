"""A model that does not fit, under a real memory limit: the run steps down, shows it, and ends whole and unmixed."""

import csv
from pathlib import Path

import gguf
import httpx
import pytest

from overnight.engines.sources import fetch
from overnight.spec.config_root import ConfigRoot, shipped_config

MODEL = """
name: wide
source: wide.gguf
family: smollm2
params_billion: 0.135
quantization: F32
context_tokens: 8192
ladder: [smollm2-135m-instruct-q4_1]
"""
# With its weights in 32 bits the model takes 700 MiB, with the shipped ones less than half of that.
LIMIT_GIB = "execution.engine.memory_limit_gib=0.5"


def widen(source: Path, target: Path) -> None:
    """Write a GGUF file with its weights in 32 bits: the same model, five times as large."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, arch=reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            kind = field.types[0]
            inner = field.types[-1] if kind is gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), kind, sub_type=inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def wide_config(config: str, model_cache: Path) -> str:
    """Return the small sweep, over a model whose weights do not fit and whose ladder has one that does."""
    models = Path(config).parent / "models"
    models.mkdir(exist_ok=True)
    weights = fetch(ConfigRoot(shipped_config()).model("smollm2-135m-instruct-q4_1"), model_cache)
    widen(weights.path, models / "wide.gguf")
    (models / "wide.yaml").write_text(MODEL)
    return config


def test_a_run_steps_down_to_what_fits_and_its_results_are_whole_and_unmixed(overnight, wide_config) -> None:
    overnight(
        "run", wide_config, "--models", "wide", "--prompt-sets", "terse", "--temps", "0", "--run-id", "down",
        "--max-concurrent-jobs", "2", "--set", LIMIT_GIB,
    )  # fmt: skip
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


def test_every_step_is_a_retry_that_the_orchestrator_shows(overnight, wide_config) -> None:
    overnight(
        "run", wide_config, "--models", "wide", "--prompt-sets", "terse", "--temps", "0", "--run-id", "shown",
        "--max-concurrent-jobs", "1", "--set", LIMIT_GIB, "--limit-items", "1",
    )  # fmt: skip
    api = overnight.environment["PREFECT_API_URL"]
    runs = httpx.post(
        f"{api}/task_runs/filter", json={"sort": "EXPECTED_START_TIME_DESC", "limit": 50}
    ).json()
    load = next(run for run in runs if run["name"] == "load wide")
    assert load["run_count"] == 2
    assert load["state"]["name"] == "SteppedDown"
    assert "smollm2-135m-instruct-q4_1" in load["state"]["message"]


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
