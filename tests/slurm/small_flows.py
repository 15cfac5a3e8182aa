"""What jobs of the tests do."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from prefect import flow, get_run_logger


@flow(name="small-job")
def small_job(do: str = "say", seconds: float = 0, folder: str = ".") -> None:
    """Do one thing, on a node."""
    logger = get_run_logger()
    logger.info(
        "hello from job %s with GPUs %s", os.environ["SLURM_JOB_ID"], os.environ.get("CUDA_VISIBLE_DEVICES")
    )
    match do:
        case "fail":
            raise ValueError("a bug")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "wait" | "wait once":
            begun = Path(folder) / f"begun-{os.environ['SLURM_JOB_ID']}"
            if do == "wait once" and begun.exists():  # a job that is put back keeps its number
                return
            begun.touch()
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                time.sleep(0.1)
        case "torchrun":
            said = subprocess.run(
                [
                    *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
                    str(Path(__file__).with_name("two_processes.py")),
                ],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            logger.info("torchrun: %s", " | ".join(sorted(said.split("\n"))))
