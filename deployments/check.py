"""Whether deployments can be made and run as they are declared; no server is asked."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prefect import Flow
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ParameterTypeError, SignatureMismatchError
from pydantic import ValidationError

from deployments.declared import Declared, Deployment
from overnight.errors import OvernightError, UsageError
from overnight.runs.naming import sweep_to_run
from overnight.runs.resolving import look_up
from overnight.spec.config_root import ConfigRoot
from overnight.spec.run_options import RunOptions
from overnight.spec.sweep import KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong with a deployment."""

    deployment: str
    problem: str  # one line

    def sentence(self) -> str:
        """Return the line for the terminal."""
        return f"{self.deployment}: {self.problem}"


def check(declared: Declared) -> tuple[Finding, ...]:
    """Return everything that is wrong with what is declared; nothing is, if this is empty.

    Every entrypoint is loaded, every set of parameters is read by the types of its flow, a sweep that is named is
    looked up and read with its changes, everything that the sweep names is looked up, and every pool and schedule is
    one that there can be.
    """
    for part in declared.parts:
        load_flow(part.entrypoint)
    return tuple(
        Finding(deployment=deployment.label, problem=" ".join(problem.split()))
        for deployment in declared.deployments
        for problem in _problems(deployment, declared)
    )


def load_flow(entrypoint: str) -> Flow[..., Any]:
    """Return the flow at ``package.module.name``.

    Raises:
        UsageError: there is none, or its module cannot be imported.
    """
    module, _, name = entrypoint.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except Exception as error:  # noqa: BLE001 - whatever a module does when it is imported
        raise UsageError(f"entrypoint {entrypoint}: {type(error).__name__}: {error}") from None
    if not isinstance(found, Flow):
        raise UsageError(
            f"entrypoint {entrypoint}: {module} has no flow {name}; name one as package.module.flow"
        )
    return found


def _problems(deployment: Deployment, declared: Declared) -> Iterator[str]:
    pools = [pool.name for pool in declared.pools]
    if deployment.work_pool.name not in pools:
        yield f"work_pool: found {deployment.work_pool.name!r}, wanted one of {', '.join(pools)}"
    try:
        flow = load_flow(deployment.entrypoint)
    except UsageError as error:
        yield str(error)
        return
    if "changes" in deployment.parameters:
        yield (
            "parameters: found changes, which those of a run would replace and not add to; write the keys into the "
            "sweep that it names, or into the parameters of a schedule"
        )
    yield from _problems_of(flow, deployment.parameters, declared, "")
    for schedule in deployment.schedules:
        where = f"schedule {schedule.slug}: "
        try:
            CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
        except ValidationError:
            yield f"{where}found cron {schedule.cron!r}, wanted five fields like '0 22 * * *'"
        if schedule.parameters:
            yield from _problems_of(flow, deployment.parameters | schedule.parameters, declared, where)


def _problems_of(
    flow: Flow[..., Any], parameters: dict[str, Any], declared: Declared, where: str
) -> Iterator[str]:
    try:
        # As the engine does before a run: positions and names first, then types.
        values = flow.validate_parameters(parameters)
    except SignatureMismatchError as error:
        yield f"{where}parameters: {error}"
        return
    except ParameterTypeError as error:
        yield f"{where}{_said(error)}"
        return
    if flow.name not in KINDS or "sweep" not in values:
        return
    run = values.get("run") or RunOptions()
    if run.config_dir is None:
        run = run.model_copy(update={"config_dir": declared.folder / "config"})
    try:
        spec, run = sweep_to_run(KINDS[flow.name], values["sweep"], values.get("changes"), run)
        look_up(spec, ConfigRoot(run.config_dir or declared.folder / "config"))
    except OvernightError as error:
        yield f"{where}{error}"


def _said(error: ParameterTypeError) -> str:
    """Return Prefect's account of wrong parameters in one line, without links."""
    lines = [line.strip() for line in str(error).splitlines()]
    return "parameters: " + " ".join(line for line in lines if line and not line.startswith("For further"))
