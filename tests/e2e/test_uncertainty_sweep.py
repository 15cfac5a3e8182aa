"""An uncertainty sweep with nothing mocked: the real engine and model, tables from the tokens of the journal."""

import csv
import json
import math
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import CommandLine, kill_tree

SWEEP = """
    kind: uncertainty-sweep
    name: small
    experiment:
      models: [smollm2-135m-instruct-q4_1]
      datasets: [facts, passages]
      items_per_dataset: 3
      asking: {style: short, shots: 1}
      max_new_tokens: 8
      sampling: {samples_per_item: 2, temperature: 0.7}
    execution: {engine: {gpu_layers: 0}, audit: {share: 0}}
"""
FACTS = [
    ("sky", "What colour is the sky on a clear day?", ["blue"]),
    ("legs", "How many legs has a spider?", ["eight", "8"]),
    ("ice", "What is frozen water called?", ["ice"]),
    ("four", "How much is two and two?", ["four", "4"]),
    ("bee", "Which insect makes honey?", ["bee", "the bee", "bees"]),
]
PASSAGES = [
    ("hat", "Ida owns a red hat.", "Who owns a hat?", ["Ida"]),
    ("tea", "Tea costs 2 crowns.", "What does tea cost?", ["2 crowns"]),
    ("dog", "Bo has a dog that is called Rex.", "What is the dog of Bo called?", ["Rex"]),
    ("age", "Bo has a cat.", "How old is Bo?", []),
    ("train", "The train leaves at nine.", "When does the train leave?", ["nine", "at nine"]),
]
RUN_FILES = ("uncertainty.csv", "auroc_results.csv", "auroc_results.json", "analysis_summary.json")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("uncertainty")
    (folder / "datasets").mkdir()
    (folder / "small.yaml").write_text(textwrap.dedent(SWEEP))
    facts = [{"id": i, "question": q, "answers": a} for i, q, a in FACTS]
    passages = [{"id": i, "context": c, "question": q, "answers": a} for i, c, q, a in PASSAGES]
    for name, kind, rows in (("facts", "closed", facts), ("passages", "open", passages)):
        (folder / "datasets" / f"{name}.yaml").write_text(f"{{type: {kind}, path: {name}.jsonl}}")
        (folder / "datasets" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "small.yaml")


@pytest.fixture(scope="module")
def run(command_line: CommandLine, sweep: str) -> Path:
    command_line("run", sweep, "--run-id", "uncertain")
    return command_line.run_folder("uncertain")


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def greedy_rows(run: Path) -> dict[str, dict[str, Any]]:
    """Return the journal rows of greedy draws by the item's key."""
    found = {}
    for journal in run.glob("*/results/generations.jsonl"):
        for line in journal.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            dataset, item, _, temperature, *_ = row["custom_id"].split("|")
            if float(temperature) == 0:
                found[f"{dataset}|{item}"] = row
    return found


def test_every_item_of_every_data_set_is_measured(run: Path) -> None:
    rows = table(run / "uncertainty.csv")
    assert {row["dataset"] for row in rows} == {"facts", "passages"}
    assert len(rows) == 6
    assert not any(row["item_key"] == "passages|age" for row in rows)  # its passage does not answer it
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["kind"] == "uncertainty-sweep"
    assert manifest["state"] == "done"
    assert [trial["counts"]["done"] for trial in manifest["trials"].values()] == [9, 9]  # greedy and two more
    for name in RUN_FILES:
        assert (run / name).is_file()
        assert name in manifest["artifacts"]  # sealed
    for slug, trial in manifest["trials"].items():
        assert f"{slug}/results/uncertainty.csv" in trial["artifacts"]


def test_what_follows_from_the_tables_is_made_again_by_report(command_line: CommandLine, run: Path) -> None:
    before = {name: (run / name).read_bytes() for name in RUN_FILES}
    for name in RUN_FILES:
        (run / name).unlink()
    command_line("report", "uncertain")
    assert {name: (run / name).read_bytes() for name in RUN_FILES} == before


def test_g_nll_is_the_sum_over_the_tokens_that_wrote_the_answer(run: Path) -> None:
    # By the definition, from the journal: minus the sum of log-probabilities of the tokens that the text is made of.
    rows, journal = {row["item_key"]: row for row in table(run / "uncertainty.csv")}, greedy_rows(run)
    n_compared = 0
    for key, row in rows.items():
        answer = journal[key]
        written, nll, n_tokens = "", 0.0, 0
        for token in answer["tokens"]:
            if token.get("ends") or written.strip() == answer["text"].strip():
                break
            written += token["text"]
            if token["text"].strip():
                nll -= token["logprob"]
                n_tokens += 1
        assert written.strip() == answer["text"].strip()
        if n_tokens:
            assert float(row["g_nll"]) == pytest.approx(nll)
            assert float(row["perplexity"]) == pytest.approx(math.exp(nll / n_tokens))
            assert int(row["n_tokens"]) == n_tokens
            n_compared += 1
    assert n_compared >= 4


def test_entropies_are_of_the_drawn_answers_and_labels_of_the_greedy_one(run: Path) -> None:
    for row in table(run / "uncertainty.csv"):
        if row["predictive_entropy"]:
            assert float(row["discrete_semantic_entropy_same_words"]) in (
                pytest.approx(0),  # both draws say the same
                pytest.approx(math.log(2)),  # they do not
            )
        assert {row["label_em"], row["label_f1"], row["label_rouge_l"]} <= {"0", "1"}
        assert row["label_em"] <= row["label_f1"]  # an exact match has F1 1


def test_the_prompt_has_a_brief_a_shot_and_the_question_and_no_shot_is_asked(run: Path) -> None:
    for path in run.glob("batch_inputs/*/*.jsonl"):
        asked = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        prompts = {row["body"]["messages"][0]["content"] for row in asked}
        assert len(prompts) == 3
        for prompt in prompts:
            assert prompt.count("Question:") == 2
            assert prompt.endswith("Answer:")
        shots = {prompt.split("Question:")[1].split("\n")[0] for prompt in prompts}
        assert len(shots) == 1
        assert not any(prompt.split("Question:")[2].split("\n")[0] in shots for prompt in prompts)


def test_so_few_answers_are_named_too_few_and_no_area_is_computed(run: Path) -> None:
    for row in table(run / "auroc_results.csv"):
        assert row["G-NLL_AUROC"] == ""
        assert row["Num_examples"] == "3"
    assert "NaN" not in (run / "analysis_summary.json").read_text()


@pytest.mark.slow  # what is killed and resumed is the engine room, which the prompt sweep's tests kill as well
def test_a_run_that_was_killed_goes_on_to_the_same_tables(
    command_line: CommandLine, sweep: str, run: Path
) -> None:
    process = command_line.start("run", sweep, "--run-id", "killed")
    command_line.wait_for_rows("killed", 4, process)
    kill_tree(process)
    command_line("resume", "killed")
    killed = command_line.run_folder("killed")
    assert (killed / "uncertainty.csv").read_bytes() == (run / "uncertainty.csv").read_bytes()
    assert len({row["custom_id"] for row in command_line.journal_rows("killed")}) == 18


def test_an_engine_without_log_probabilities_is_refused_before_anything_is_asked(
    command_line: CommandLine, sweep: str
) -> None:
    models = Path(sweep).parent / "models"
    models.mkdir(exist_ok=True)
    (models / "served.yaml").write_text(
        "{engine: openai_compatible, source: 'openai:any', family: f, params_billion: 1, quantization: none,\n"
        " instruct: true, context_tokens: 4096, endpoint: {base_url: 'http://127.0.0.1:1', dialect: lm_studio}}"
    )
    said = command_line("run", sweep, "--models", "served", "--plan-only", expect=2)
    assert "dialect lm_studio gives no log-probabilities" in said


def test_a_measure_that_needs_what_is_not_there_says_what_to_set(
    command_line: CommandLine, sweep: str
) -> None:
    said = command_line(
        "run", sweep, "--plan-only", "--set", "experiment.measures=[g_nll, token_sar]", expect=2
    )
    assert "token_sar needs relevance; set experiment.relevance" in said
