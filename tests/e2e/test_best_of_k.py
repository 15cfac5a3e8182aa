"""A best-of-K sweep with nothing mocked but the weights, which are few and random: what it says is always the same."""

import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.command_line import CommandLine
from tests.tiny_models import LAYER, write_lens, write_model

torch = pytest.importorskip("torch")

SWEEP = """
    kind: best-of-k-sweep
    name: small
    experiment:
      models: [tiny]
      lenses: [patched]
      datasets: [texts, chats]
      k_values: [1, 2, 4]
      positions: {per_sequence: 2, min_pos: 2}
      statistics: {n_resamples: 50}
    execution:
      lens: {vectors_per_chunk: 2, max_generation_batch_size: 5, encoder_batch_size: 4}
"""
FILES = {
    "small.yaml": SWEEP,
    "lenses/patched.yaml": "{path: ../fitted}",
    "datasets/texts.yaml": "{format: prompts, path: texts.txt}",
    "datasets/texts.txt": """
        the cat saw a big red house in the city
        a dog ran far and it was in a tree
        the name of the cat is X and the name of the dog is X
        it ate
        the city is far and the house is big
        a tree in the city was red
    """,
    "datasets/chats.yaml": "{format: chats, path: chats.jsonl}",
    "datasets/chats.jsonl": """
        {"messages": [{"role": "user", "content": "is it a dog"}, {"role": "assistant", "content": "it is a cat"}]}
        {"messages": [{"role": "user", "content": "is the house red"}, {"role": "assistant", "content": "it was"}]}
    """,
}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a sweep with texts, a model and a lens of its own beside it."""
    folder = tmp_path_factory.mktemp("lenses")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(textwrap.dedent(text).lstrip())
    write_lens(folder, *write_model(folder))
    return str(folder / "small.yaml")


@pytest.fixture(scope="module")
def run(command_line: CommandLine, sweep: str) -> Path:
    command_line("run", sweep, "--run-id", "bok")
    return command_line.run_folder("bok")


def results(run: Path) -> dict[str, Any]:
    """Return what is said of each trial's draws, without what was timed."""
    return {
        path.parents[1].name.split("-")[2]: _untimed(json.loads(path.read_text()))
        for path in run.glob("*/results/k_sweep_results.json")
    }


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _untimed(each)
            for key, each in value.items()
            if "seconds" not in key and "_per_second" not in key
        }
    return [_untimed(each) for each in value] if isinstance(value, list) else value


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Check that two results say the same, to 1e-9."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for place, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_same(left, right, f"{where}[{place}]")
    elif isinstance(one, float):
        assert other == pytest.approx(one, rel=1e-9, abs=1e-9), where
    else:
        assert one == other, where


def test_every_dataset_is_a_trial_that_ends_well(command_line: CommandLine, run: Path) -> None:
    manifest = command_line.manifest("bok")
    assert manifest["state"] == "done"
    states = {slug.split("-")[2]: trial["counts"] for slug, trial in manifest["trials"].items()}
    # Six texts of which one is too short; two positions of each, four draws of each position.
    assert states["texts"]["expected"] == states["texts"]["done"] == 5 * 2 * 4
    assert states["chats"]["expected"] == states["chats"]["done"] == 2 * 2 * 4


def test_what_is_drawn_can_be_checked_against_a_plain_script(run: Path, sweep: str) -> None:
    # The vectors are the states that transformers itself has at those positions, and the reconstructions those of
    # the last token of each text.
    from safetensors.numpy import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = Path(sweep).parent / "tiny"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)

    def states(text: str) -> np.ndarray:
        with torch.no_grad():
            ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
            return model(ids, output_hidden_states=True).hidden_states[LAYER + 1][0].numpy()

    texts = {
        row["item_id"]: row["question"]
        for row in map(json.loads, (run / "items" / "texts.jsonl").read_text().splitlines())
    }
    (vectors,) = (run / "vectors").iterdir()
    rows = next(iter(load_file(vectors / "vectors.safetensors").values()))
    for line in map(json.loads, (vectors / "vectors.jsonl").read_text().splitlines()):
        if line["dataset"] == "texts":
            expected = states(texts[line["item_id"]])[line["position"]]
            assert np.abs(rows[line["index"]] - expected).max() <= 1e-4 * np.abs(expected).max()
    (trial,) = run.glob("*-texts-*")
    draws = {
        (row["vector"], row["draw"]): row
        for row in map(json.loads, (trial / "results" / "generations.jsonl").read_text().splitlines())
    }
    for chunk in map(json.loads, (trial / "results" / "chunks.jsonl").read_text().splitlines()):
        made = next(iter(load_file(run / chunk["path"]).values()))
        for place in range(chunk["n"]):
            for draw in range(4):
                text = draws[chunk["first"] + place, draw]["text"]
                if text:
                    expected = states(text)[-1]
                    assert np.abs(made[place, draw] - expected).max() <= 1e-4 * np.abs(expected).max()


def test_the_files_of_a_run_are_what_they_should_be_and_a_changed_one_is_found(
    command_line: CommandLine, run: Path
) -> None:
    command_line("verify", "bok")
    path = next(run.glob("*/results/reconstructions/*.safetensors"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + b"\0\0\0\1")
    process = command_line.start("verify", "bok")
    said, _ = process.communicate(timeout=120)
    path.write_bytes(whole)
    assert process.returncode == 1
    assert path.name in said


@pytest.mark.slow
def test_a_run_that_is_killed_and_goes_on_with_other_processes_says_what_one_process_says(
    command_line: CommandLine, sweep: str, run: Path, kill: Any
) -> None:
    # Three processes until it is killed, two afterwards: chunk by chunk it is what one process would have done.
    process = command_line.start("run", sweep, "--run-id", "killed", "--set", "execution.num_processes=3")
    command_line.wait_for_rows("killed", 8, process)
    kill(process)
    command_line("resume", "killed", "--set", "execution.num_processes=2")
    killed = command_line.run_folder("killed")
    assert_same(results(killed), results(run))
    log = (killed / "run.log").read_text(encoding="utf-8")
    assert "14 vectors of layer 2 found" in log


@pytest.mark.slow  # two more runs; the one above has both numbers of processes
@pytest.mark.parametrize("n_processes", [2, 3])
def test_several_processes_say_what_one_says(
    command_line: CommandLine, sweep: str, run: Path, n_processes: int
) -> None:
    name = f"by-{n_processes}"
    command_line("run", sweep, "--run-id", name, "--set", f"execution.num_processes={n_processes}")
    assert_same(results(command_line.run_folder(name)), results(run))
