"""What ``overnight verify`` prints."""

import json
from dataclasses import asdict
from pathlib import Path

from overnight.cli.console import console
from overnight.errors import DamageFound
from overnight.store.run_folder import find_run
from overnight.verifying.run import verify_run


def show_verification(experiments: Path, run: str, *, as_json: bool) -> None:
    """Check the files of a run and print what is wrong, a line a finding.

    Raises:
        UsageError: there is no such run.
        DamageFound: something is not what it should be.
    """
    folder = find_run(experiments, run)
    result = verify_run(folder)
    if as_json:
        print(json.dumps({"run": str(folder.path), **asdict(result)}, indent=2, allow_nan=False))  # noqa: T201
    else:
        for one in result.findings:
            _say(f"{one.file}: {one.found}; wanted {one.wanted}; {one.remedy}")
        if result.is_running:
            _say("the run is going on: files may change while they are looked at")
    if result.findings:
        n_files = len({one.file for one in result.findings})
        raise DamageFound(f"run {folder.run_id}: {n_files} files are not what they should be")
    if not as_json:
        read = f", {result.n_read} files follow their schemas" if result.n_read else ""
        _say(f"{result.n_sealed} sealed files, all of them what was written{read}")


def _say(text: str) -> None:
    console().print(text, highlight=False, markup=False, soft_wrap=True)
