"""What can be said of a job: the form that Prefect shows, and the arguments of sbatch that follow from it."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

from prefect.client.orchestration import PrefectClient
from prefect.workers.base import BaseJobConfiguration
from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt, StringConstraints, ValidationError
from pydantic.json_schema import SkipJsonSchema

from overnight.errors import UsageError

_WHOLE_NODE = 8  # GPUs
_CPUS_OF_ONE_GPU = 16
_CPUS_A_GPU = 8
_CPUS_WITHOUT_GPU = 4
_NICE = 10_000
_LONGEST_NAME = 60
_COMMENT = "overnight-flow-run="

Time = Annotated[str, StringConstraints(pattern=r"^(\d+|\d+:\d{2}(:\d{2})?|\d+-\d{1,2}(:\d{2}){0,2})$")]
Memory = Annotated[str, StringConstraints(pattern=r"^[1-9]\d*[KMGT]?$")]


def _spoken(name: str, _: Any) -> str:
    return name


class SlurmJob(BaseJobConfiguration):
    """A job, as the variables of a work pool, of a deployment and of a run describe it together."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", field_title_generator=_spoken)

    num_gpus: NonNegativeInt = Field(
        default=1, description="GPUs of the job, all on one node; 8 and more take the node for itself alone."
    )
    gpu_type: str | None = Field(default=None, description="Kind of GPU as SLURM calls it, such as a100.")
    num_cpus: PositiveInt | None = Field(
        default=None,
        description="Cores of the job. Empty: 16 for one GPU, 8 for each of several, 4 without any.",
    )
    memory: Memory | None = Field(
        default=None, description="Main memory of the job, such as 64G. Empty: what the partition gives."
    )
    time: Time = Field(
        default="24:00:00",
        description="Longest time that the job may take: hours:minutes:seconds, or days-hours.",
    )
    partition: str | None = Field(default=None, description="Empty: SLURM's default partition.")
    job_name: str | None = Field(default=None, description="Name in squeue. Empty: that of the flow run.")
    nice: bool | int = Field(
        default=False,
        description="true: let others go first (nice 10000, qos preemptable), and be put back into the queue where "
        "they take the node away. A number: that niceness.",
    )
    requeue: bool | None = Field(
        default=None,
        description="true: SLURM may put the job back into its queue, after preemption or where a node fails; it goes "
        "on from its journal then. Empty: as `nice` says.",
    )
    requeue_at_time_limit: bool = Field(
        default=False,
        description="true: a job whose time is nearly up is put back into the queue, and goes on.",
    )
    warning_s: PositiveInt = Field(
        default=120, description="Seconds before the time limit at which the job is told to stop."
    )
    qos: str | None = Field(default=None, description="Quality of service.")
    account: str | None = Field(default=None, description="Account that pays.")
    constraint: str | None = Field(default=None, description="Features that the node has to have.")
    extra_arguments: tuple[str, ...] = Field(
        default=(), description="Further arguments of sbatch, such as --reservation=night."
    )
    prologue: tuple[str, ...] = Field(
        default=(), description="Lines of shell before the run: module load, source .venv/bin/activate."
    )
    python: str | None = Field(
        default=None,
        description="The interpreter on the nodes. Empty: that of the worker; in a container, or with a prologue that "
        "brings another one, say python.",
    )
    container: str | None = Field(
        default=None,
        description="Image that Apptainer runs the job in; the cluster's own /home is there as well.",
    )
    container_options: tuple[str, ...] = Field(
        default=("--nv",), description="Of `apptainer exec`, such as --bind=/scratch."
    )
    working_dir: Path | None = Field(
        default=None, description="Where the job begins, on the nodes. Empty: the folder of the worker."
    )
    log_dir: Path | None = Field(
        default=None,
        description="Where the output of jobs goes, a file each, on a file system that nodes and worker share. Empty: "
        "slurm_logs in the folder of the worker.",
    )
    env: dict[str, str | None] = Field(
        default={
            "DO_NOT_TRACK": "1",
            "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
            "TOKENIZERS_PARALLELISM": "false",
        },
        title="Environment variables",
        description="Exported to the job beside what the worker has.",
    )
    # Prefect's own; what they could say is said above.
    command: SkipJsonSchema[str | None] = None
    labels: SkipJsonSchema[dict[str, str]] = {}
    name: SkipJsonSchema[str | None] = None

    @classmethod
    def json_template(cls) -> dict[str, Any]:
        """Return the job as a work pool writes it: every field takes the variable of its name."""
        return {name: f"{{{{ {name} }}}}" for name in cls.model_json_schema()["properties"]}

    @classmethod
    async def from_template_and_values(
        cls, base_job_template: dict[str, Any], values: dict[str, Any], client: PrefectClient | None = None
    ) -> "SlurmJob":
        """Return the job that a pool's template makes of some variables.

        Raises:
            UsageError: there is no such variable, or its value is wrong.
        """
        known = set(base_job_template["variables"].get("properties", {}))
        if unknown := sorted({name.partition(".")[0] for name in values} - known):
            raise UsageError(
                f"job variable {unknown[0]}: there is none; the pool has {', '.join(sorted(known))}"
            )
        try:
            return await super().from_template_and_values(base_job_template, values, client=client)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in problem["loc"])
            raise UsageError(f"job variable {key}: found {problem['input']!r}; {problem['msg']}") from None

    @property
    def may_requeue(self) -> bool:
        """True where SLURM may put the job back into its queue."""
        return (self.nice is True) if self.requeue is None else self.requeue

    @property
    def cores(self) -> int:
        """Cores to ask for."""
        if self.num_cpus is not None:
            return self.num_cpus
        if self.num_gpus > 1:
            return _CPUS_A_GPU * self.num_gpus
        return _CPUS_OF_ONE_GPU if self.num_gpus else _CPUS_WITHOUT_GPU

    @property
    def logs(self) -> Path:
        """The folder of what jobs print."""
        return (self.log_dir or Path("slurm_logs")).absolute()

    @property
    def interpreter(self) -> str:
        """What runs Python on a node."""
        return self.python or ("python" if self.container else sys.executable)

    def sbatch_arguments(self, flow_run_id: str) -> list[str]:
        """Return the arguments of sbatch for a flow run, whose id goes along so that the job is found again."""
        return [
            "--parsable",
            "--nodes=1",
            "--ntasks=1",
            "--export=ALL",
            f"--signal=B:USR1@{self.warning_s}",
            "--requeue" if self.may_requeue or self.requeue_at_time_limit else "--no-requeue",
            # A job that goes on in the queue adds to what it said before.
            "--open-mode=append",
            f"--output={self.logs / '%j.out'}",
            f"--comment={_COMMENT}{flow_run_id}",
            *(f"--{name}={value}" for name, value in self._asked() if value is not None),
            *(["--exclusive"] if self.num_gpus >= _WHOLE_NODE else []),
            *self.extra_arguments,
        ]

    def _asked(self) -> Iterator[tuple[str, object]]:
        name = self.job_name or self.name or "overnight"
        yield "job-name", re.sub(r"[^\w.-]+", "_", name)[:_LONGEST_NAME]
        yield "time", self.time
        yield "cpus-per-task", self.cores
        yield "mem", self.memory
        if self.num_gpus:
            yield "gres", ":".join(["gpu", *([self.gpu_type] if self.gpu_type else []), str(self.num_gpus)])
        yield "partition", self.partition
        yield "qos", self.qos or ("preemptable" if self.nice is True else None)
        yield "nice", _NICE if self.nice is True else self.nice or None
        yield "account", self.account
        yield "constraint", self.constraint
        yield "chdir", self.working_dir


def flow_run_of(comment: str) -> str | None:
    """Return the id of the flow run that a job carries out; None for a job of somebody else's."""
    return comment.removeprefix(_COMMENT) if comment.startswith(_COMMENT) else None
