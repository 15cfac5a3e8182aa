"""On what a run runs: versions, hardware, code."""

import contextlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

_PACKAGES = ("overnight", "prefect", "xllamacpp", "numpy", "scipy", "statsmodels", "pydantic", "torch")


def describe_environment() -> dict[str, Any]:
    """Return what may explain a difference between two machines; what cannot be told is null."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "cpu": _cpu_name(),
        "cores": psutil.cpu_count(logical=False),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": gpus(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "git": _git(),
    }


def machine_identity() -> dict[str, Any]:
    """Return what makes two machines equally fast: processor, cores and GPUs by name; nothing that names a host."""
    found = gpus()
    return {
        "cpu": _cpu_name(),
        "cores": psutil.cpu_count(logical=False),
        "gpus": None if found is None else [gpu["name"] for gpu in found],
    }


def gpus() -> list[dict[str, Any]] | None:
    """Return the NVIDIA devices that NVML shows, or None where there is no NVML."""
    try:
        import pynvml  # noqa: PLC0415 - its import is the driver's business

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001 - a broken driver raises what it likes
        return None
    try:
        driver = pynvml.nvmlSystemGetDriverVersion()
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            found.append(
                {
                    "name": pynvml.nvmlDeviceGetName(handle),
                    "memory_bytes": _memory_of(pynvml, handle),
                    "driver": driver,
                }
            )
    except Exception:  # noqa: BLE001 - the same
        return None
    else:
        return found
    finally:
        with contextlib.suppress(Exception):  # it may be gone already
            pynvml.nvmlShutdown()


def _memory_of(pynvml: Any, handle: Any) -> int | None:
    """Return the size of a device's own memory; one that shares the system's has none."""
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    except Exception:  # noqa: BLE001 - NVML has no answer for it
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_name() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else None


def _git() -> dict[str, Any] | None:
    """Return the commit of the source tree that runs, and whether it was changed; None outside of one."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}

    def git(*arguments: str) -> str | None:
        try:
            result = subprocess.run(
                ["git", "-C", str(root), *arguments],  # noqa: S607 - the user's git
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=10,
                env=environment,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return result.stdout.strip() if result.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    status = git("status", "--porcelain")
    return {"commit": commit, "changed": None if status is None else bool(status)} if commit else None
