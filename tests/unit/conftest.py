import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from overnight.records import Item, ItemType
from overnight.spec.prompt_sweep import PromptSweepSpec

MODEL = {
    "name": "tiny",
    "source": "/nowhere/tiny.gguf",
    "sha256": "a" * 64,
    "family": "f",
    "params_billion": 0.1,
    "quantization": "Q4_0",
    "context_tokens": 2048,
}
PROMPTS = {"name": "brief", "control": "You answer questions.", "treatment": "You answer in a word or two."}
DATASETS = [
    {"name": "facts", "type": "closed", "path": "/nowhere/facts.jsonl", "sha256": "c" * 64},
    {"name": "passages", "type": "open", "path": "/nowhere/passages.jsonl", "sha256": "d" * 64},
]


@pytest.fixture(scope="session")
def make_spec() -> Callable[..., PromptSweepSpec]:
    """Return a maker of resolved sweeps: one trial, but for the parts of ``experiment`` that are named."""

    def make(execution: dict[str, Any] | None = None, **experiment: Any) -> PromptSweepSpec:
        plain = {"datasets": DATASETS, "defaults": {"model": MODEL, "prompt_set": PROMPTS}}
        plain["defaults"] = plain["defaults"] | experiment.pop("defaults", {})
        return PromptSweepSpec.model_validate(
            {"name": "s", "experiment": plain | experiment, "execution": execution or {}}
        )

    return make


@pytest.fixture(scope="session")
def items() -> list[Item]:
    """Return three closed items and four open ones on two passages, one of them unanswerable."""
    closed = [
        Item(
            dataset="facts",
            item_id=f"c{n}",
            type=ItemType.CLOSED,
            question=f"What is {n}?",
            answers=(f"{n}",),
        )
        for n in range(3)
    ]
    opened = [
        Item(
            dataset="passages",
            item_id=f"o{n}",
            type=ItemType.OPEN,
            question=f"Who is number {n}?",
            answers=() if n == 3 else ("Ada",),
            context=f"{'Ada and Bert' if n % 2 else 'Cleo and Dan'} live by the sea. " * 3,
        )
        for n in range(4)
    ]
    return closed + opened


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with a sweep ``sweeps/s.yaml`` and all that it names; its model is no model."""
    root = tmp_path / "project"
    rows = [{"id": f"i{n}", "question": f"What is {n}?", "answers": [str(n)]} for n in range(6)]
    files = {
        "models/tiny.gguf": "GGUF and nothing else",
        "models/tiny.yaml": "source: tiny.gguf\nfamily: f\nparams_billion: 0.1\nquantization: Q4_0\n"
        "context_tokens: 2048\n",
        "prompts/plain.txt": "You answer questions.",
        "prompts/terse.txt": "You answer in a word or two.",
        "prompts/brief.yaml": "control: plain.txt\ntreatment: terse.txt\n",
        "datasets/facts.jsonl": "".join(json.dumps(row) + "\n" for row in rows),
        "datasets/facts.yaml": "type: closed\npath: facts.jsonl\n",
        "sweeps/s.yaml": "name: s\nexperiment:\n  datasets: [facts]\n"
        "  defaults: {model: tiny, prompt_set: brief}\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root
