"""What is to be on a server, as files say it: ``prefect.yaml``, and the pools that come along."""

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from deployments.slurm.worker import SlurmWorker
from overnight.errors import UsageError
from overnight.spec.base import Name, Spec, no_repeats
from overnight.spec.reading import read_mapping, validate

_HERE = Path(__file__).parent


_zones = cache(available_timezones)  # a walk through folders


def _known_zone(name: str) -> str:
    if name not in _zones():
        raise ValueError(f"found {name!r}, wanted a time zone such as {ZoneInfo('Europe/Berlin').key}")
    return name


class Schedule(Spec):
    """When runs begin by themselves, once it is turned on."""

    slug: Name
    cron: str
    timezone: Annotated[str, AfterValidator(_known_zone)]
    active: bool = False
    parameters: dict[str, Any] = {}


class RunsAtOnce(Spec):
    """How many runs of a deployment there may be at a time, and what becomes of one more."""

    limit: PositiveInt
    collision_strategy: Literal["ENQUEUE", "CANCEL_NEW"]
    grace_period_seconds: int | None = Field(default=None, ge=60, le=86400)


class Queue(Spec):
    """Where the runs of a deployment go."""

    name: Name
    work_queue_name: Name | None = None
    job_variables: dict[str, Any] = {}


class Deployment(Spec):
    """A flow with its parameters, under a name."""

    name: Name
    entrypoint: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")  # of a module: a file has no identity
    description: str = Field(min_length=1)
    parameters: dict[str, Any] = {}
    tags: Annotated[tuple[str, ...], AfterValidator(no_repeats)] = ()
    work_pool: Queue
    schedules: tuple[Schedule, ...] = ()
    concurrency_limit: RunsAtOnce | None = None

    @field_validator("schedules")
    @classmethod
    def _distinct(cls, schedules: tuple[Schedule, ...]) -> tuple[Schedule, ...]:
        no_repeats(tuple(schedule.slug for schedule in schedules))
        return schedules

    @property
    def label(self) -> str:
        """Flow and name, where the flow is called as Prefect calls it by default: as its function."""
        return f"{self.entrypoint.rpartition('.')[2].replace('_', '-')}/{self.name}"


class PrefectFile(Spec):
    """A ``prefect.yaml``, as far as it is used here; `prefect deploy` reads the same file."""

    name: str = ""
    prefect_version: str = Field(default="", alias="prefect-version")
    definitions: dict[str, Any] = {}  # anchors
    deployments: tuple[Deployment, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct_labels(self) -> Self:
        labels = [deployment.label for deployment in self.deployments]
        if twice := {label for label in labels if labels.count(label) > 1}:
            raise ValueError(f"deployments: {min(twice)} stands twice; rename one")
        return self


class Pool(Spec):
    """A work pool with the form that its workers understand."""

    # Where a site sets defaults of its own on the server, such as its partition, these stay.
    keeps_defaults: bool = Field(default=False, exclude=True)
    # A flow whose runs carry out parts of other runs here; its deployment is called as the pool.
    parts: str | None = Field(default=None, exclude=True)

    name: Name
    type: str
    description: str
    concurrency_limit: NonNegativeInt | None
    base_job_template: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _form_of_our_worker(cls, value: Any) -> Any:
        """Take the form from the worker type where that is ours."""
        if isinstance(value, dict) and value.get("type") == SlurmWorker.type:
            return {"base_job_template": SlurmWorker.get_default_base_job_template()} | value
        return value


class Declared(Spec):
    """All that is to be on a server, and the folder that runs work in."""

    @property
    def parts(self) -> tuple[Deployment, ...]:
        """The deployments that runs start by themselves; nobody else gives them parameters."""
        return tuple(
            Deployment(
                name=pool.name,
                entrypoint=pool.parts,
                description=f"A part of a run that has execution.pool {pool.name}, which starts it by itself.",
                work_pool=Queue(name=pool.name),
            )
            for pool in self.pools
            if pool.parts is not None
        )

    file: Path
    folder: Path
    deployments: tuple[Deployment, ...]
    pools: tuple[Pool, ...]


def read_declared(file: Path | None = None) -> Declared:
    """Return what is to be on a server.

    Args:
        file: a ``prefect.yaml``; by default that of the working directory, or else the shipped one, whose runs then
            work in the working directory.

    Raises:
        UsageError: a file cannot be read, or says something wrong.
    """
    here = Path("prefect.yaml")
    if file is None and not here.is_file():
        path, folder = shipped_file(), Path.cwd()
    else:
        path = file or here
        folder = path.resolve().parent
    said = validate(PrefectFile, read_mapping(path, "deployments", expand=False), path)
    return Declared(
        file=path,
        folder=folder,
        deployments=said.deployments,
        pools=tuple(_pool(pool) for pool in sorted((_HERE / "pools").glob("*.yaml"))),
    )


def shipped_file() -> Path:
    """Return the ``prefect.yaml`` that came with this installation, or stands beside the source tree."""
    packaged = _HERE / "prefect.yaml"
    return packaged if packaged.is_file() else _HERE.parent / "prefect.yaml"


def _pool(path: Path) -> Pool:
    pool = validate(Pool, read_mapping(path, "a work pool", expand=False), path)
    if pool.name != path.stem:
        raise UsageError(
            f"{path}: name: found {pool.name!r}, wanted {path.stem!r}; rename the file or the entry"
        )
    return pool
