"""What is compared with, each in an environment of its own: how it is made, and how a script is run in it."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figures import NotMeasuredError
from filelock import FileLock

from overnight.ids import digest

_CPU_BUILDS = "https://download.pytorch.org/whl/cpu"


def environment_of(name: str, pins: Sequence[str], cache: Path) -> Path:
    """Return the Python of an environment with some packages, made below a folder where it is not there yet.

    Args:
        name: of what it is for.
        pins: requirements, torch's exact release among them; its CPU build is what is installed.
        cache: where environments lie.

    Raises:
        NotMeasuredError: pip cannot install them.
    """
    folder = cache / f"{name}-{digest([*pins, sys.version])[:12]}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "installed.json"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if done.exists():
            return python
        print(f"  ... installing {', '.join(pins)} into {folder}", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True, clear=True)
        # torch alone, first: nobody else is to be looked for where its CPU builds are.
        torch = [pin for pin in pins if pin.startswith("torch==")]
        _install(python, name, ["--no-deps", "--extra-index-url", _CPU_BUILDS, *torch])
        _install(python, name, pins)
        done.write_text(json.dumps({"pins": list(pins)}), encoding="utf-8")
    return python


def run_worker(
    python: Path, script: Path, settings: dict[str, Any], scratch: Path, environ: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return the JSON that a script writes, given a file of settings.

    Raises:
        NotMeasuredError: it failed.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    given, written = scratch / "settings.json", scratch / "result.json"
    given.write_text(json.dumps(settings), encoding="utf-8")
    command = [str(python), str(script), str(given), str(written)]
    # Nothing of ours is to be found by it but what was installed for it.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | (environ or {})
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if result.returncode:
        raise NotMeasuredError(f"{script.name}: {_last_line(result.stderr)}")
    return dict(json.loads(written.read_text(encoding="utf-8")))


def _install(python: Path, name: str, what: Sequence[str]) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", *what]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise NotMeasuredError(f"pip cannot install {name}: {_last_line(result.stderr)}")


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "no reason given")
