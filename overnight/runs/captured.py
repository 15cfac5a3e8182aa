"""Which prompts of a trial were captured: its journal of captures, as far as what it names is there."""

import math
from pathlib import Path
from typing import Any

from overnight.errors import StoreError
from overnight.store.files import read_object, write_json
from overnight.store.inside import below
from overnight.store.journal import Row, is_done, read_rows
from overnight.store.run_folder import RunFolder, TrialFolder


def captured_rows(folder: RunFolder, slug: str, model: str | None = None) -> dict[str, Row]:
    """Return the row of each captured prompt of a trial, by custom id; of one model, where it is named.

    What was read of it has to lie where the row says.

    Raises:
        StoreError: a row is none, or names a file outside of the run.
    """
    return {
        name: row
        for name, row in effective_captures(folder, slug).items()
        if is_done(row)
        and (model is None or row["model"] == model)
        and below(folder.path, row["path"]).is_file()
    }


def effective_captures(folder: RunFolder, slug: str) -> dict[str, Row]:
    """Return the row that counts of each prompt, by custom id: the last one, be it an error."""
    return {row["custom_id"]: row for row in read_rows(folder.trial(slug).capture_journal)}


def what_is_not_captured(folder: RunFolder, slug: str, expected: int) -> str | None:
    """Return what is missing of a trial, in a sentence; None where nothing is."""
    done = captured_rows(folder, slug)
    if len(done) == expected:
        return None
    errors = [
        row["error"] for row in read_rows(folder.trial(slug).capture_journal) if row["custom_id"] not in done
    ]
    why = f": {errors[-1]}" if errors else ""
    return (
        f"{expected - len(done)} of {expected} prompts are not captured{why}; `overnight resume` tries again"
    )


def _facts(path: Path) -> dict[str, Any]:
    facts = read_object(path) if path.is_file() else {}
    numbers = [facts.get("passes", 0), facts.get("seconds", 0.0), facts.get("largest_probe_difference") or 0]
    if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
        raise StoreError(f"{path}: not what was written ({facts!r:.60}); delete it")
    return facts


def note_passes(folder: TrialFolder, n_passes: int, seconds: float, probe: float | None) -> None:
    """Add a stretch of reading to what the trial has of them, in ``capture.json``.

    Args:
        folder: of the trial.
        n_passes: sequences that went through the model.
        seconds: that it took, files included.
        probe: the largest difference of a sequence in a batch from the same one alone, relative; None: not probed.
    """
    path = folder.capture_facts
    before = _facts(path)
    probes = [each for each in (before.get("largest_probe_difference"), probe) if each is not None]
    write_json(
        path,
        {
            "passes": before.get("passes", 0) + n_passes,
            "seconds": round(before.get("seconds", 0.0) + seconds, 3),
            "largest_probe_difference": max(probes, default=None),
        },
    )
