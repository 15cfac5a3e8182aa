"""Calling a flow from the command line."""

from typing import Any, cast

from prefect import Flow
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings


def call(flow: Flow[..., Any], parameters: dict[str, Any]) -> State[Any]:
    """Run a flow in this process and return its final state.

    Without heartbeats: whoever watches this run sees its process, and joining the heartbeat's thread would cost
    every trial a second.
    """
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        return cast("State[Any]", flow(**parameters, return_state=True))
