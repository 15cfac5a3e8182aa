"""Calling a flow from the command line, with an API of its own where no server is set."""

import contextlib
import functools
import importlib
import re
import time
from collections.abc import Callable
from typing import Any, cast

import httpx
import prefect
from prefect.client.schemas.objects import State
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    get_current_settings,
    temporary_settings,
)

from flows.api_process import ApiProcess, begin
from overnight.errors import OvernightError

_OK = 200


def call(entrypoint: str, parameters: dict[str, Any]) -> State[Any]:
    """Run a flow (``module:name``) in this process and return its final state.

    Without heartbeats: whoever watches this run sees its process, and joining the heartbeat's thread would cost
    every trial a second.
    """
    url, wait_until_it_answers = _api()
    module, _, name = entrypoint.partition(":")
    flow = getattr(importlib.import_module(module), name)  # takes a while, as the API does
    wait_until_it_answers()
    with temporary_settings({PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        return cast("State[Any]", flow(**parameters, return_state=True))


@functools.cache
def _api() -> tuple[str, Callable[[], None]]:
    """Return where the API is, and how to wait for it: the one that is set, or a process that lives as long as this."""
    if url := get_current_settings().api.url:
        return str(url), lambda: require_answer(str(url))
    api = begin()
    return api.url, lambda: _wait_until_healthy(api)


def require_answer(url: str) -> None:
    """Raise unless a Prefect server answers, of the major version that is installed here.

    A server that tells its version to nobody, or only with a key, is believed.

    Raises:
        OvernightError: nothing answers there, something else, or a server of another version.
    """
    try:
        answer = httpx.get(f"{url}/admin/version", timeout=30)
    except httpx.TransportError as error:
        raise OvernightError(
            f"no Prefect server answers at {url} ({type(error).__name__}); start it with `prefect server start`, "
            "or unset PREFECT_API_URL to run without one"
        ) from None
    if answer.status_code != _OK:
        return
    found = re.match(r'"?(\d+)\.\d+', answer.text)
    if found is None:
        raise OvernightError(
            f"what answers at {url} is no Prefect server; PREFECT_API_URL ends with /api, as in "
            "http://127.0.0.1:4200/api"
        )
    if found[1] != prefect.__version__.partition(".")[0]:
        raise OvernightError(
            f"the server at {url} is Prefect {answer.json()}, wanted the version that is installed here, "
            f"{prefect.__version__}; start it from this environment: `prefect server start`"
        )


def _wait_until_healthy(api: ApiProcess) -> None:
    patience_s = PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if api.process.poll() is not None:
            api.said.seek(0)
            lines = api.said.read().decode("utf-8", "replace").split("\n")
            reason = next(
                (line for line in reversed(lines) if line.strip()), f"code {api.process.returncode}"
            )
            raise OvernightError(f"the embedded Prefect API ended: {reason}")
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{api.url}/health", timeout=5, trust_env=False).status_code == _OK:
                return
        time.sleep(0.1)
    raise OvernightError(
        f"the embedded Prefect API did not answer within {patience_s} s; "
        "raise PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, or start a server and set PREFECT_API_URL"
    )
