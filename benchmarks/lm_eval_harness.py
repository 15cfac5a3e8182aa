"""lm-evaluation-harness as a baseline: its environment, its task, and how it is asked."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from engine_items import MAX_NEW_TOKENS, Answers
from environments import environment_of, run_worker

TASK = "overnight_items"
_WORKER = Path(__file__).parent / "lm_eval_worker.py"
# The harness names no upper bounds. torch and transformers are ours, to the patch: what is compared is what is done
# with them. The extra `hf` brings accelerate and peft, which its model type imports.
_FIXED = ("lm_eval[hf]==0.4.13", "torch==2.13.0")


def pins() -> tuple[str, ...]:
    """Return what is installed for the harness."""
    return (*_FIXED, *(f"{name}=={version(name)}" for name in ("transformers", "tokenizers", "accelerate")))


def environment(cache: Path) -> Path:
    """Return the Python of the harness's environment, made below a folder where it is not there yet.

    Raises:
        NotMeasuredError: pip cannot install it.
    """
    return environment_of("lm-eval", pins(), cache)


def write_task(folder: Path, prompts: Sequence[dict[str, Any]]) -> None:
    """Write the task: rendered prompts, answered greedily to the end of the turn.

    The prompts are rendered beforehand and checked by their ids, so that no template and no first token comes in twice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "items.jsonl"
    data.write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts), encoding="utf-8")
    task = {
        "task": TASK,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "prompt",
        "doc_to_target": "custom_id",  # no score of ours: the texts are compared
        "generation_kwargs": {"until": ["<|im_end|>"], "max_gen_toks": MAX_NEW_TOKENS, "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    (folder / f"{TASK}.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")


def ask_lm_eval(
    python: Path, settings: dict[str, Any], prompts: Sequence[dict[str, Any]], scratch: Path
) -> dict[int, Answers]:
    """Have the harness answer all prompts with each batch size, in one process; return what each came to.

    Args:
        python: of its environment.
        settings: ``folder`` of the weights, ``threads`` and ``batch_sizes``.
        prompts: ``custom_id``, ``prompt`` and ``ids`` of each.
        scratch: for the task, and for what the harness caches.

    Raises:
        NotMeasuredError: it failed, or it sees other ids than we do.
    """
    write_task(scratch / "tasks", prompts)
    settings = settings | {"tasks": str(scratch / "tasks"), "task": TASK}
    more = {"HF_HOME": str(scratch / "hf"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    result = run_worker(python, _WORKER, settings, scratch, more)
    return {run["batch_size"]: Answers.of_worker(run["answers"]) for run in result["runs"]}
