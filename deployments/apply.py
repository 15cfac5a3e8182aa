"""Bringing a server to what is declared: pools, deployments and automations; what is right already is left alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from prefect.client.schemas.objects import ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema

from deployments.automations import automations
from deployments.check import load_flow
from deployments.declared import Declared, Deployment, Pool, Schedule
from overnight.errors import UsageError

T = TypeVar("T")
_POOL_KEYS = ("description", "concurrency_limit", "base_job_template")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What became of one thing on the server."""

    kind: Literal["work pool", "deployment", "automation"]
    name: str
    did: Literal["created", "updated", "unchanged"]
    keys: tuple[str, ...] = ()  # that were updated

    def sentence(self) -> str:
        """Return the line for the terminal."""
        keys = f" ({', '.join(self.keys)})" if self.keys else ""
        return f"{self.did:9} {self.kind} {self.name}{keys}"


def apply(declared: Declared, client: SyncPrefectClient) -> tuple[Change, ...]:
    """Create or update what is declared, and return what was done; what is not declared stays.

    Whether a schedule or an automation is on, and whether a pool is paused, is decided on the server, and stays as it
    is there.

    Raises:
        UsageError: a pool of that name is of another type, or an entrypoint names no flow.
    """
    return (
        *(_apply_pool(pool, client) for pool in declared.pools),
        *(_apply_deployment(deployment, declared, client) for deployment in declared.deployments),
        *(_apply_deployment(deployment, declared, client) for deployment in declared.parts),
        *(_apply_automation(automation, client) for automation in automations()),
    )


def _apply_pool(pool: Pool, client: SyncPrefectClient) -> Change:
    found = _found(lambda: client.read_work_pool(pool.name))
    wanted = pool.model_dump(mode="json")
    if found is None:
        client.create_work_pool(WorkPoolCreate(**wanted))
        return Change(kind="work pool", name=pool.name, did="created")
    if found.type != pool.type:
        raise UsageError(
            f"work pool {pool.name}: the server has one of type {found.type}, wanted {pool.type}; delete it by "
            f"`prefect work-pool delete {pool.name}`, or rename ours"
        )
    if pool.keeps_defaults:
        wanted["base_job_template"] = _with_defaults_of(found.base_job_template, pool.base_job_template)
    keys = tuple(key for key in _POOL_KEYS if getattr(found, key) != wanted[key])
    if keys:
        client.update_work_pool(pool.name, WorkPoolUpdate(**{key: wanted[key] for key in keys}))
    return Change(kind="work pool", name=pool.name, did="updated" if keys else "unchanged", keys=keys)


def _with_defaults_of(found: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return a form with the defaults that its variables have on the server."""
    there = found.get("variables", {}).get("properties", {})
    properties = {
        name: field | ({"default": there[name]["default"]} if "default" in there.get(name, {}) else {})
        for name, field in wanted["variables"]["properties"].items()
    }
    return wanted | {"variables": wanted["variables"] | {"properties": properties}}


def _apply_deployment(deployment: Deployment, declared: Declared, client: SyncPrefectClient) -> Change:
    flow = load_flow(deployment.entrypoint)
    name = f"{flow.name}/{deployment.name}"
    found = _found(lambda: client.read_deployment_by_name(name))
    schedules = [_schedule(schedule, found) for schedule in deployment.schedules]
    at_once = deployment.concurrency_limit
    wanted: dict[str, Any] = {
        "entrypoint": deployment.entrypoint,
        "description": deployment.description,
        "tags": list(deployment.tags),
        "parameters": deployment.parameters,
        "parameter_openapi_schema": parameter_schema(flow).model_dump_for_openapi(),
        "enforce_parameter_schema": True,
        "work_pool_name": deployment.work_pool.name,
        "work_queue_name": deployment.work_pool.work_queue_name or "default",
        "job_variables": deployment.work_pool.job_variables,
        # A worker starts runs in a folder of their own; names of configs and run folders are found from here.
        "pull_steps": [
            {"prefect.deployments.steps.set_working_directory": {"directory": str(declared.folder)}}
        ],
        "concurrency_limit": at_once and at_once.limit,
        "concurrency_options": at_once
        and ConcurrencyOptions(**at_once.model_dump(include={"collision_strategy", "grace_period_seconds"})),
        "schedules": schedules,
    }
    keys = () if found is None else tuple(_differences(wanted, found))
    if found is None or keys:
        client.create_deployment(client.create_flow_from_name(flow.name), deployment.name, **wanted)
    did: Literal["created", "updated", "unchanged"] = (
        "created" if found is None else "updated" if keys else "unchanged"
    )
    return Change(kind="deployment", name=name, did=did, keys=keys)


def _apply_automation(automation: AutomationCore, client: SyncPrefectClient) -> Change:
    there = client.read_automations_by_name(automation.name)
    if not there:
        client.create_automation(automation)
        return Change(kind="automation", name=automation.name, did="created")
    wanted = automation.model_copy(update={"enabled": there[0].enabled})
    rows = [each.model_dump(mode="json", exclude={"id", "created", "updated"}) for each in (wanted, there[0])]
    keys = tuple(key for key in rows[0] if rows[0][key] != rows[1].get(key))
    if keys:
        client.update_automation(there[0].id, wanted)
    return Change(kind="automation", name=automation.name, did="updated" if keys else "unchanged", keys=keys)


def _schedule(schedule: Schedule, found: DeploymentResponse | None) -> DeploymentScheduleCreate:
    """Return a schedule, turned on or off as the server has it where it has one of that slug."""
    active = {each.slug: each.active for each in found.schedules} if found else {}
    return DeploymentScheduleCreate(
        schedule=CronSchedule(cron=schedule.cron, timezone=schedule.timezone),
        active=active.get(schedule.slug, schedule.active),
        parameters=schedule.parameters,
        slug=schedule.slug,
    )


def _differences(wanted: dict[str, Any], found: DeploymentResponse) -> list[str]:
    limit = found.global_concurrency_limit
    here = {key: getattr(found, key) for key in wanted if key not in {"concurrency_limit", "schedules"}} | {
        "concurrency_limit": limit and limit.limit,
        "schedules": found.schedules,
    }
    return [key for key in wanted if _plain(wanted[key]) != _plain(here[key])]


def _plain(value: Any) -> Any:
    """Return a value as two sides of a wire can compare it: without what the server adds."""
    if isinstance(value, ConcurrencyOptions):
        return value.model_dump(mode="json")
    if isinstance(value, list) and value and hasattr(value[0], "schedule"):
        keys = {"schedule", "active", "parameters", "slug"}
        return sorted(
            (each.model_dump(mode="json", include=keys) for each in value), key=lambda row: row["slug"] or ""
        )
    return value


def _found(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except ObjectNotFound:
        return None
