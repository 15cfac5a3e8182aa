"""Sweeps that benchmarks run: over the items that are shipped, and over made-up ones."""

import json
from pathlib import Path
from typing import Any

import yaml
from command_line import CommandLine


def starter_sweep(
    scratch: Path,
    name: str,
    prompt_set: str,
    n_items: int,
    *,
    dry_run: bool = False,
    sweep: dict[str, Any] | None = None,
) -> Path:
    """Write a sweep over the starter items, asked greedily and sampled, as quickstart does."""
    text = sweep_text(
        name,
        datasets=["starter_closed", "starter_open"],
        prompt_set=prompt_set,
        temps=[0.0, 0.7],
        limit_items=n_items,
        dry_run=dry_run,
        sweep=sweep,
    )
    return write_config(scratch / name, {"prompts/.keep": "", f"sweeps/{name}.yaml": text})


def sweep_text(name: str, *, prompt_set: str, temps: list[float], **experiment: Any) -> str:
    """Return a sweep as YAML; everything that costs time stands in it, so that it means the same next year."""
    defaults = {
        "model": "smollm2-135m-instruct-q4_1",
        "prompt_set": prompt_set,
        "temps": temps,
        "max_new_tokens": {"closed": 32, "open": 32},
    }
    return yaml.safe_dump(
        {
            "kind": "prompt-sweep",
            "name": name,
            "experiment": {"defaults": defaults, **experiment},
            "execution": {"max_concurrent_requests": 4},
        },
        sort_keys=False,
    )


def write_config(root: Path, files: dict[str, str]) -> Path:
    """Write a configuration folder and return the path of its last file."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path


def made_up_sweep(scratch: Path, n_items: int) -> Path:
    """Write a dry run over ``n_items`` made-up open-book items of about 60 words."""
    name = f"made_up_{n_items}"
    passage = (
        "The ledger is kept by the harbour and names one town a line, with its mill and its market day. " * 2
    )
    rows = (
        {
            "id": f"q{i}",
            "question": f"Which town stands on line {i} of the ledger?",
            "answers": [f"Town {i}"],
            "context": f"{passage}Line {i} names Town {i}, {i % 90 + 5} miles from the harbour.",
        }
        for i in range(n_items)
    )
    sweep = sweep_text(name, datasets=[name], prompt_set="short_answer", temps=[0.0], dry_run=True)
    folder = scratch / name / "datasets"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return write_config(
        scratch / name,
        {
            f"datasets/{name}.yaml": yaml.safe_dump({"name": name, "type": "open", "path": f"{name}.jsonl"}),
            f"sweeps/{name}.yaml": sweep,
        },
    )


def warm_up(line: CommandLine) -> None:
    """Have Prefect's database made and everything compiled, which is no part of a trial."""
    line.run("quickstart", "--dry-run", "--prompt-sets", "short_answer", "--limit-items", "4")
