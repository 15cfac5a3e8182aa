"""What every engine is asked, and how ours are asked it: by the steps of a trial."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil
import yaml
from long_prompt import long_treatment

from overnight.engines.holding import connect, hold
from overnight.engines.sources import fetch
from overnight.engines.transformers.prompts import PromptRenderer
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.requests import Request
from overnight.runs.building import build_requests, built_requests
from overnight.runs.generating import generate
from overnight.runs.opening import create_run, load_plan
from overnight.runs.resolving import resolve
from overnight.runs.trials import begin_trial
from overnight.spec.config_root import ConfigRoot, shipped_config
from overnight.spec.model import EngineKind
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.run_options import RunOptions
from overnight.store.journal import is_done, read_rows
from overnight.store.run_folder import RunFolder

MAX_NEW_TOKENS = 32
_MODEL = "smollm2-135m-instruct-q4_1"
_LONG = "long"
_DATASETS = ("starter_closed", "starter_open", "recalled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What one way of asking came to."""

    wall_s: float
    n_items: int
    cpu_s: float | None = None  # that processors were busy in the process that holds the model
    texts: dict[str, str] = field(default_factory=dict)  # by custom id

    @property
    def per_minute(self) -> float:
        """Items a minute."""
        return 60 * self.n_items / self.wall_s

    @classmethod
    def of_worker(cls, came_to: dict[str, Any]) -> Self:
        """Return what a process of its own says."""
        return cls(n_items=len(came_to["texts"]), **came_to)


class OwnRun:
    """A run of a sweep over the items with one of our engines, up to where its model would be loaded."""

    def __init__(self, spec: PromptSweepSpec, experiments: Path, run_id: str) -> None:
        self.spec = spec
        self.folder: RunFolder = create_run(spec, RunOptions(run_id=run_id, experiments_dir=experiments))
        self.plan: Plan = load_plan(self.folder, spec)
        self.block: ModelBlock = self.plan.blocks[0]
        self._trial = self.block.trials[0]
        begin_trial(self.folder, self._trial.slug)
        build_requests(self.folder, self.plan, self._trial)

    @property
    def requests(self) -> list[Request]:
        """All requests, in the order in which the run sends them."""
        return list(built_requests(self.folder, self.plan, self._trial))

    @property
    def weights(self) -> Path:
        """What the engine loads."""
        return fetch(self.block.model).path

    def ask(self) -> Answers:
        """Hold the model, ask everything, each answer into the journal, and let go; only the asking is timed."""
        execution, block = self.spec.execution, self.block
        with hold(block.model, self.weights, block.context_tokens, execution, self.folder.engines) as holder:
            holder.start()
            engine = connect(block.model, execution, self.folder.engines)
            process = psutil.Process(holder.state.pid)
            before = process.cpu_times()
            generated = asyncio.run(generate(self.folder, self.plan, block, self._trial, engine, execution))
            after = process.cpu_times()
        rows = [row for row in read_rows(self.folder.trial(self._trial.slug).journal) if is_done(row)]
        return Answers(
            wall_s=generated.inference_s,
            n_items=len(rows),
            cpu_s=after.user + after.system - before.user - before.system,
            texts={row["custom_id"]: row["text"] for row in rows},
        )


def sweep_of(
    engine: EngineKind, root: Path, n_items: int, threads: int, n_words: int | None
) -> PromptSweepSpec:
    """Return a sweep over the starter items: with their passages, without, and those that never had one.

    Args:
        engine: that answers.
        root: folder for the configuration.
        n_items: how many of them.
        threads: of the engine.
        n_words: of the system prompt; None is that of `short_answer`.
    """
    shipped = ConfigRoot(shipped_config())
    _write_recalled(root)
    if n_words is not None:
        _write_long_prompt(root, n_words)
    model = shipped.model(_MODEL).model_copy(update={"engine": engine})
    spec = PromptSweepSpec.model_validate(
        {
            "name": f"engines_{engine.value}",
            "experiment": {
                "datasets": _DATASETS,
                "limit_items": n_items,
                "defaults": {
                    "model": model,
                    "prompt_set": "short_answer" if n_words is None else _LONG,
                    "temps": [0.0],
                    "max_new_tokens": {"closed": MAX_NEW_TOKENS, "open": MAX_NEW_TOKENS},
                },
            },
            "execution": {"condition": "treatment", "request_cache": False, "engine": {"threads": threads}},
        }
    )
    return resolve(spec, ConfigRoot(root))


def _write_recalled(root: Path) -> None:
    """Write the open-book questions without their passages as a dataset of their own."""
    folder = root / "datasets"
    folder.mkdir(parents=True, exist_ok=True)
    lines = (shipped_config() / "datasets" / "starter_open.jsonl").read_text(encoding="utf-8").splitlines()
    items = [json.loads(line) for line in lines]
    rows = ({key: item[key] for key in ("id", "question")} | {"answers": ["?"]} for item in items)
    (folder / "recalled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "recalled.yaml").write_text(
        yaml.safe_dump({"name": "recalled", "type": "closed", "path": "recalled.jsonl"}), encoding="utf-8"
    )


def _write_long_prompt(root: Path, n_words: int) -> None:
    folder = root / "prompts"
    folder.mkdir(parents=True, exist_ok=True)
    text = long_treatment(n_words)
    value = {"name": _LONG, "control": "long.txt", "treatment": "long.txt"}
    (folder / "long.txt").write_text(text, encoding="utf-8")
    (folder / f"{_LONG}.yaml").write_text(yaml.safe_dump(value), encoding="utf-8")


def rendered(requests: Sequence[Request], model: Path) -> list[dict[str, Any]]:
    """Return each request's prompt as our host of transformers renders it: its text and its token ids."""
    from transformers import AutoTokenizer  # noqa: PLC0415 - it takes seconds

    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    renderer = PromptRenderer(tokenizer)
    found = []
    for request in requests:
        ids = list(renderer.ids(request.messages))
        found.append({"custom_id": request.custom_id, "prompt": tokenizer.decode(ids), "ids": ids})
    return found
