"""What is asked of SLURM, by its own commands."""

import asyncio
import os
import shutil
import sys
from collections.abc import Mapping, Sequence

from deployments.slurm.jobs import SQUEUE_FORMAT, Job, read_jobs
from overnight.errors import OvernightError, UsageError

_NEEDED = ("sbatch", "squeue", "scancel")
_PATIENCE_S = 60.0


def missing_commands() -> str | None:
    """Return what is wrong where SLURM's commands are not here; None where they are."""
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if not missing:
        return None
    return (
        f"found no {', '.join(missing)} on this machine, wanted SLURM's commands; start the worker of this pool on a "
        "login node of the cluster"
    )


async def submit(script: str, arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Put a job into the queue and return its id.

    Raises:
        UsageError: SLURM does not take the job as it is described, or its commands are not here.
    """
    code, said, error = await _call(["sbatch", *arguments], script, environment)
    job_id = said.strip().partition(";")[0]
    if code or not job_id.isdigit():
        reason = _last_line(error) or _last_line(said) or f"sbatch ended with code {code}"
        raise UsageError(f"SLURM does not take the job: {reason}{await _instead(reason, arguments)}")
    return job_id


async def queued_jobs() -> list[Job]:
    """Return all jobs of this user, those that ended a few minutes ago included.

    Raises:
        OvernightError: SLURM does not answer.
    """
    if sys.platform == "win32":  # which has no numbers for its users, and no SLURM
        raise OvernightError("SLURM does not answer: found Windows, wanted a login node of the cluster")
    me = str(os.getuid())
    code, said, error = await _call(
        ["squeue", "--noheader", "--states=all", f"--user={me}", f"--Format={SQUEUE_FORMAT}"]
    )
    if code:
        raise OvernightError(f"SLURM does not answer: {_last_line(error)}")
    return read_jobs(said)


async def cancel(job_id: str) -> None:
    """End a job; one that has ended already stays as it is.

    Raises:
        OvernightError: SLURM does not answer, or refuses.
    """
    code, _, error = await _call(["scancel", job_id])
    if code and "Invalid job id" not in error:
        raise OvernightError(f"SLURM job {job_id} cannot be cancelled: {_last_line(error)}")


def without_a_job(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what SLURM says in it of the job that this process is in."""
    kept = ("SLURM_CONF", "SLURM_CLUSTERS")
    return {
        name: value for name, value in environment.items() if not name.startswith("SLURM_") or name in kept
    }


async def _instead(reason: str, arguments: Sequence[str]) -> str:
    """Return what could be asked for instead, as far as SLURM says."""
    asked = [each.partition("=")[2] for each in arguments if each.startswith("--partition=")]
    if "partition" not in reason.lower() or not asked or shutil.which("sinfo") is None:
        return "; look at the job variables of the run"
    _, said, _ = await _call(["sinfo", "--noheader", "--format=%R"])
    return f"; found partition {asked[-1]}, wanted one of {', '.join(sorted(set(said.split())))}"


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1].removeprefix("sbatch: error: ") if lines else ""


async def _call(
    command: Sequence[str], said_to_it: str = "", environment: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        raise UsageError(missing_commands() or f"found no {command[0]} on this machine") from None
    try:
        said, error = await asyncio.wait_for(process.communicate(said_to_it.encode()), _PATIENCE_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise OvernightError(
            f"SLURM does not answer: {command[0]} took more than {_PATIENCE_S:.0f} s"
        ) from None
    return process.returncode or 0, said.decode(errors="replace"), error.decode(errors="replace")
