"""The build step: the exact requests of a trial, one file a part."""

import json
from collections.abc import Iterator
from pathlib import Path

from overnight.errors import StoreError
from overnight.planning.plan import Plan
from overnight.planning.requests import Request, as_row, from_row, part_requests
from overnight.planning.trial import Trial
from overnight.store.files import atomic_writer
from overnight.store.run_folder import RunFolder


def build_requests(folder: RunFolder, plan: Plan, trial: Trial) -> int:
    """Write a trial's requests in the order in which they are sent; return how many there are."""
    n_requests = 0
    _remove_parts_of_another_slicing(folder, plan, trial)
    for part in plan.parts_of(trial):
        with atomic_writer(_path(folder, trial, part.name)) as file:
            for request in part_requests(trial, part, plan.conditions):
                file.write(json.dumps(as_row(request, trial.model.name), ensure_ascii=True) + "\n")
                n_requests += 1
    expected = plan.requests_per_trial[trial.slug]
    if n_requests != expected:
        raise StoreError(f"trial {trial.slug}: {n_requests} requests were built, the plan has {expected}")
    return n_requests


def built_requests(folder: RunFolder, plan: Plan, trial: Trial) -> Iterator[Request]:
    """Yield a trial's requests as they were built, part by part, one at a time.

    Raises:
        StoreError: a part's file is missing or is not what was built.
    """
    for part in plan.parts_of(trial):
        path = _path(folder, trial, part.name)
        try:
            with path.open(encoding="utf-8") as file:
                for number, line in enumerate(file, start=1):
                    try:
                        yield from_row(json.loads(line), part.name)
                    except (ValueError, KeyError, TypeError):
                        raise StoreError(f"{path}:{number}: not a request; build the trial again") from None
        except FileNotFoundError:
            raise StoreError(f"{path}: no such file; run the build step first") from None


def _path(folder: RunFolder, trial: Trial, part: str) -> Path:
    return folder.batch_inputs(trial.slug) / f"{part}.jsonl"


def _remove_parts_of_another_slicing(folder: RunFolder, plan: Plan, trial: Trial) -> None:
    """A run may go on with other parts; what the old ones held is all in the journal."""
    wanted = {part.name for part in plan.parts_of(trial)}
    for path in folder.batch_inputs(trial.slug).glob("*.jsonl"):
        if path.stem not in wanted:
            path.unlink()
    for path in folder.trial(trial.slug).results.glob("parts/*/state.json"):
        if path.parent.name not in wanted:
            path.unlink()
            path.parent.rmdir()
