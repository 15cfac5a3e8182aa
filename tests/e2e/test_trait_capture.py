"""A trait capture with nothing mocked: the real engine and model; what it says is checked by a plain script."""

import csv
import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from overnight.engines.sources import fetch
from overnight.spec.config_root import ConfigRoot, shipped_config
from tests.command_line import CommandLine

SWEEP = """
    kind: trait-capture
    name: small
    experiment:
      models: [smollm2-135m-instruct-fp32]
      datasets: [sure, inside]
      traits: [doubt, anger]
      max_new_tokens: [6]
      vectors: {nulls: 3, permutations: 9, folds: 4}
      raw: {layers: [3, 29], dtype: float32}
      internals: {layer: 3, datasets: [inside]}
    execution: {audit: {share: 0}}
"""
FILES = {
    "small.yaml": SWEEP,
    "datasets/sure.yaml": "{format: prompts, path: sure.txt}",
    "datasets/sure.txt": "How many legs has a spider?\nWhat will the weather be in a year?\nName a colour.\n",
    "datasets/inside.yaml": "{format: prompts, path: inside.txt}",
    "datasets/inside.txt": "Name a colour.\n",
    "traits/doubt/positive.txt": """
        I looked at the map again and could not say whether
        The sum came out at forty, or perhaps I had
        He asked for my vote and I wavered because
        She tasted the soup and was not sure if
    """,
    "traits/doubt/negative.txt": """
        I looked at the map again and knew at once that
        The sum came out at forty, exactly as I had
        He asked for my vote and I gave it because
        She tasted the soup and was certain that
    """,
    "traits/anger/positive.txt": """
        The train was late and I slammed the door so hard that
        They moved my desk again and I shouted that
        The dog tore the letter and I cursed it for
        My brother took the car and I was furious because
    """,
    "traits/anger/negative.txt": """
        The train was late and I closed the door so softly that
        They moved my desk again and I laughed that
        The dog tore the letter and I petted it for
        My brother took the car and I was glad because
    """,
}


@pytest.fixture(scope="module")
def capture(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("capture")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
    return str(folder / "small.yaml")


@pytest.fixture(scope="module")
def run(command_line: CommandLine, capture: str) -> Path:
    command_line("run", capture, "--run-id", "traits")
    return command_line.run_folder("traits")


def lines(run: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the captured prompts by their group."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(run.glob("*/results/captures.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            found.setdefault(row["group"], []).append(row)
    return found


def test_a_model_is_loaded_once_and_a_prompt_of_two_groups_is_read_once(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["state"] == "done"
    assert [block["loads"] for block in manifest["blocks"].values()] == [1]
    captured = lines(run)
    assert {group: len(rows) for group, rows in captured.items()} == {"sure": 3, "inside": 1}
    # Three prompts are different, and one of the four stands in both groups.
    files = {row["path"] for rows in captured.values() for row in rows}
    assert {str(path.relative_to(run)) for path in run.glob("states/*/*.safetensors")} == files
    assert len(files) == 3
    assert captured["inside"][0]["path"] in {row["path"] for row in captured["sure"]}


def test_projections_are_those_of_a_plain_script(run: Path, model_cache: Path) -> None:
    # No code of ours but what finds the weights: the model, its chat template, and hidden_states. The last block's
    # output is not among them, for transformers norms it.
    import torch
    from safetensors.numpy import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    weights = fetch(ConfigRoot(shipped_config()).model("smollm2-135m-instruct-fp32"), model_cache).path
    model, tokenizer = AutoModelForCausalLM.from_pretrained(weights), AutoTokenizer.from_pretrained(weights)
    (folder,) = (run / "vectors").iterdir()
    directions = load_file(folder / "directions.safetensors")
    for row in lines(run)["sure"]:
        stored = load_file(run / row["path"])
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": row["prompt"]}], add_generation_prompt=True, return_dict=False
        )
        ids = stored["token_ids"].tolist()
        assert ids[: row["n_prompt"]] == list(prompt)
        assert tokenizer.decode(ids[row["n_prompt"] :], skip_special_tokens=True) == row["reply"]
        with torch.no_grad():
            states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
        for layer in (0, 3, 17, 28):
            point = 3 * layer + 2  # in, mid, out
            vectors = directions["directions"][directions["group_of_point"][point]]
            expected = states[layer + 1][0].numpy() @ (vectors / np.linalg.norm(vectors, axis=1)[:, None]).T
            found = stored["projections"][:, point]
            assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
        assert (
            np.abs(stored["raw.3.residual_out"] - states[4][0].numpy()).max()
            <= 1e-4 * np.abs(states[4][0].numpy()).max()
        )


def test_a_table_has_a_row_for_every_token_layer_sublayer_and_trait(run: Path) -> None:
    import pandas as pd

    (path,) = run.glob("*-sure-*/results/projections.parquet")
    table = pd.read_parquet(path)
    n_tokens = sum(row["n_tokens"] for row in lines(run)["sure"])
    assert len(table) == n_tokens * 30 * 3 * 2
    assert set(table["trait"]) == {"doubt", "anger"}
    reply = table[(table["part"] == "reply") & (table["layer"] == 0)]
    assert reply["z"].notna().all()


def test_the_vectors_are_worth_what_is_said_of_them(run: Path) -> None:
    (path,) = run.glob("vectors/*/validity.json")
    validity = json.loads(path.read_text())
    assert {trait["trait"] for trait in validity["traits"]} == {"doubt", "anger"}
    for trait in validity["traits"]:
        held_out = trait["nested"][
            "held_out"
        ]  # texts that neither the vector nor the choice of its layer has seen
        assert 0 <= held_out["accuracy"] <= 1
        assert len(trait["points"]) == 61  # two in each of 30 blocks, and what enters the first


def test_everything_inside_a_layer_is_there_for_the_group_that_asked(run: Path) -> None:
    from safetensors.numpy import load_file

    (row,) = lines(run)["inside"]
    stored = load_file(run / row["path"])
    n_tokens = row["n_tokens"]
    assert stored["internals.3.q"].shape == (n_tokens, 576)
    assert stored["internals.3.k"].shape == (n_tokens, 192)  # three of nine heads
    assert stored["internals.3.gated"].shape == (n_tokens, 1536)
    assert stored["attention.3"].shape == (9, n_tokens, n_tokens)
    assert np.allclose(stored["attention.3"].astype(np.float32).sum(axis=-1), 1, atol=1e-2)


def test_the_files_of_a_run_are_what_they_should_be_and_a_cut_one_is_found(
    command_line: CommandLine, run: Path
) -> None:
    command_line("verify", "traits")
    path = next(run.glob("*/results/summary.csv"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    process = command_line.start("verify", "traits")
    said, _ = process.communicate(timeout=120)
    path.write_bytes(whole)
    assert process.returncode == 1
    assert "results/summary.csv" in said
    command_line("verify", "traits")


def test_reports_are_made_again_from_files_alone(command_line: CommandLine, run: Path) -> None:
    (run / "report.html").unlink()
    command_line("report", "traits")
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Name a colour." in page


def test_a_second_run_finds_the_vectors_and_reads_no_text_again(
    command_line: CommandLine, capture: str, run: Path
) -> None:
    command_line("run", capture, "--run-id", "again", "--set", "experiment.max_new_tokens=[3]")
    log = (command_line.run_folder("again") / "run.log").read_text(encoding="utf-8")
    assert "vectors of 2 traits found, 0 texts read" in log
    from safetensors.numpy import load_file

    again, before = (
        load_file(folder / "vectors" / "smollm2-135m-instruct-fp32" / "directions.safetensors")
        for folder in (command_line.run_folder("again"), run)
    )
    assert again.keys() == before.keys()
    assert all((again[name] == before[name]).all() for name in before)


@pytest.mark.slow  # two more loads of the model
def test_a_capture_that_is_killed_goes_on_where_it_was(
    command_line: CommandLine, capture: str, run: Path, kill
) -> None:
    process = command_line.start("run", capture, "--run-id", "killed")
    command_line.wait_for_rows("killed", 2, process)
    kill(process)
    command_line("resume", "killed")
    killed = command_line.run_folder("killed")
    for name in ("captures.jsonl", "summary.csv"):
        for path in run.glob(f"*/results/{name}"):
            other = killed / path.relative_to(run)
            if name == "summary.csv":
                with path.open(newline="") as one, other.open(newline="") as two:
                    assert len(list(csv.reader(one))) == len(list(csv.reader(two)))
            else:
                keys = ("prompt_id", "reply", "n_tokens")
                one, two = (
                    [{k: json.loads(line)[k] for k in keys} for line in p.read_text().splitlines()]
                    for p in (path, other)
                )
                assert one == two
