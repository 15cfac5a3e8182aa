"""What a run has come to, without what is another every time: to compare a disturbed run with one that was not."""

import csv
import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from overnight.store.journal import parse_line
from overnight.store.manifest import TrialState, broken_seals, read_manifest
from overnight.store.run_folder import RunFolder

# Files that are about time, about the machine or for the eye; that they are there is compared all the same.
_OTHER_EVERY_TIME = re.compile(
    r"(manifest|plan|overrides|.*/costs|.*/capture)\.json|effective_config\.yaml|"
    r".*\.(md|html|png|pdf|log|lock)|.*\.lock.*|telemetry/.*"
)
# What a disturbed run may have and another one may not.
_MAY_BE = re.compile(r"run\.log|telemetry/.*|engines/.*\.log|.*\.lock|\.lock-.*")
_TIMED = re.compile(
    r"at|rank|sha256|cached|n_read|run_id|inputs|telemetry|.*seconds.*|.*_per_second|.*_m?s|started|ended|created|updated|origin|attempt"
)
_SCRATCH = re.compile(r".*\.part|\..*-[a-z0-9_]{8}|\.(done|download|making)-.*|overnight-[a-z]+-.*-\d+-.*")


def settled(run: Path) -> dict[str, Any]:
    """Return the content of all tables, records and tensors of a run, by their names."""
    return {
        name: _content(path) for name, path in _files(run).items() if not _OTHER_EVERY_TIME.fullmatch(name)
    }


def names(run: Path) -> set[str]:
    """Return the names of the files that a run of this kind has in any case."""
    return {name for name in _files(run) if not _MAY_BE.fullmatch(name)}


def what_is_wrong(run: Path) -> list[str]:
    """Return what contradicts the promises about a run that has ended well."""
    folder = RunFolder(run)
    manifest = read_manifest(folder)
    wrong = [f"the run is {manifest.state}"] if manifest.state is not TrialState.DONE else []
    for slug, record in manifest.trials.items():
        if record.state is not TrialState.DONE or record.counts.done != record.counts.expected:
            wrong.append(f"{slug} is {record.state}, {record.counts.done} of {record.counts.expected}")
        wrong += [f"{name} is not what was sealed" for name in broken_seals(run, record.artifacts)]
    wrong += [f"{name} is not what was sealed" for name in broken_seals(run, manifest.artifacts)]
    for journal in run.glob("*/results/*.jsonl"):
        rows = [parse_line(line) for line in journal.read_bytes().splitlines(keepends=True)]
        answered = Counter(row["custom_id"] for row in rows if row.get("status") == "ok")
        wrong += [f"{journal.name}: {name} stands there {n} times" for name, n in answered.items() if n > 1]
    return wrong + scratch(run)


def scratch(folder: Path) -> list[str]:
    """Return what unfinished writes have left anywhere in a folder."""
    return [f"{path} is left" for path in sorted(folder.rglob("*")) if _SCRATCH.fullmatch(path.name)]


def _files(run: Path) -> dict[str, Path]:
    return {path.relative_to(run).as_posix(): path for path in sorted(run.rglob("*")) if path.is_file()}


def _content(path: Path) -> Any:
    if path.suffix == ".jsonl":
        rows = (_untimed(parse_line(line)) for line in path.read_bytes().splitlines(keepends=True))
        return sorted(json.dumps(row, sort_keys=True) for row in rows)
    if path.suffix == ".json":
        return _untimed(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return [_untimed(row) for row in csv.DictReader(file)]
    if path.suffix == ".safetensors":  # the order of what its header says is another every time
        return {name: _array(each) for name, each in load_file(path).items()}
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: _array(arrays[name]) for name in arrays.files}
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _array(array: Any) -> tuple[str, tuple[int, ...], str]:
    return str(array.dtype), array.shape, hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _untimed(each) for name, each in value.items() if not _TIMED.fullmatch(name)}
    return [_untimed(each) for each in value] if isinstance(value, list) else value
