"""The script of a job: surroundings first, and then what carries out the flow run."""

import shlex

from deployments.slurm.variables import SlurmJob


def batch_script(job: SlurmJob) -> str:
    """Return what sbatch reads.

    The last line takes the place of the shell, so that SLURM's signals reach who can act on them.
    """
    return "\n".join(
        [
            "#!/bin/bash",
            "ulimit -n 65536 2>/dev/null || true",
            'export OMP_NUM_THREADS="${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-1}}"',
            *job.prologue,
            f"exec {shlex.join(_command(job))}",
            "",
        ]
    )


def _command(job: SlurmJob) -> list[str]:
    inside = [job.interpreter, "-m", "deployments.slurm.node"]
    inside += ["--requeue-at-time-limit"] if job.requeue_at_time_limit else []
    if job.container is None:
        return inside
    return ["apptainer", "exec", *job.container_options, job.container, *inside]
