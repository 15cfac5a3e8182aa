"""Python, the processor, thread variables and tracking: what needs no driver and no server."""

import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from overnight.diagnosis.machine.check import Check, Surroundings, note, ok, problem
from overnight.telemetry.cores import Cores, read_cores
from overnight.telemetry.environment import machine_identity

FIRST_PYTHON, FIRST_UNTESTED = (3, 11), (3, 14)  # as pyproject.toml says
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def check_python(around: Surroundings) -> list[Check]:
    """Say which Python this is, on what."""
    del around
    return [judge_python(sys.version_info[:3], platform.platform(), _version("overnight"))]


def judge_python(found: tuple[int, int, int], system: str, own: str | None) -> Check:
    """Judge a version of Python."""
    text = f"Python {'.'.join(map(str, found))}, overnight {own or 'from a source tree'}, on {system}"
    if found[:2] < FIRST_PYTHON:
        return problem("python", text, "install Python 3.11, 3.12 or 3.13")
    if found[:2] >= FIRST_UNTESTED:
        return note("python", f"{text}: newer than what was tested", "use Python 3.11, 3.12 or 3.13")
    return ok("python", text)


def check_cpu(around: Surroundings) -> list[Check]:
    """Say how many cores there are, and how many of them may be used."""
    del around
    return [judge_cpu(read_cores(), machine_identity()["cpu"])]


def judge_cpu(cores: Cores, name: str | None) -> Check:
    """Judge how much of the processor may be used."""
    values = cores._asdict()
    text = f"{name or 'processor'}: {cores.physical or '?'} cores, {cores.logical or '?'} threads"
    if cores.cgroup is not None and cores.cgroup < (cores.allowed or cores.physical or cores.cgroup):
        return note(
            "cpu",
            f"{text}; the container may use {cores.cgroup:g} of them",
            f"set execution.engine.threads: {cores.usable}; more threads than that wait for one another",
            **values,
        )
    if cores.allowed is not None and cores.logical is not None and cores.allowed < cores.logical:
        return note("cpu", f"{text}; this process may use {cores.allowed} of them (affinity)", None, **values)
    return ok("cpu", text, **values)


def check_threads(around: Surroundings) -> list[Check]:
    """Say how the thread variables compare with the cores."""
    return [judge_threads(around.environment, read_cores())]


def judge_threads(environment: Mapping[str, str], cores: Cores) -> Check:
    """Judge the variables that numerical libraries take their number of threads from."""
    found = {name: environment[name] for name in THREAD_VARIABLES if environment.get(name)}
    if not found:
        return ok("threads", "no thread variable is set; numerical libraries take one thread a core")
    text = ", ".join(f"{name}={value}" for name, value in found.items())
    # OMP_NUM_THREADS may be a list, one number a level of nesting.
    wrong = [name for name, value in found.items() if not _is_count(value)]
    if wrong:
        return problem(
            "threads", f"{text}: {wrong[0]} is not a number of threads", f"unset {wrong[0]}", **found
        )
    many = [name for name, value in found.items() if int(value.split(",")[0]) > cores.usable]
    if many:
        return note(
            "threads",
            f"{text}: more than the {cores.usable} cores that may be used; threads wait for one another",
            f"{many[0]}={cores.usable}, or unset it",
            **found,
        )
    return ok("threads", f"{text}, of {cores.usable} cores", **found)


def check_tracking(around: Surroundings) -> list[Check]:
    """Say whether Weights & Biases would be sent anything."""
    return [judge_tracking(around.environment, _version("wandb"))]


def judge_tracking(environment: Mapping[str, str], installed: str | None) -> Check:
    """Judge tracking by what is installed and by the environment alone; no key is read, shown or tried."""
    if installed is None:
        return ok("wandb", "wandb is not installed: nothing is tracked")
    mode = environment.get("WANDB_MODE")
    if mode in ("offline", "disabled", "dryrun"):
        return ok("wandb", f"wandb {installed}, WANDB_MODE={mode}: nothing is sent")
    if environment.get("WANDB_API_KEY"):
        return ok("wandb", f"wandb {installed}, a key is set in WANDB_API_KEY; it was not tried")
    return ok("wandb", f"wandb {installed}, no WANDB_API_KEY in the environment: runs are kept offline")


def _is_count(text: str) -> bool:
    return all(word.strip().isdigit() and int(word) > 0 for word in text.split(","))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
