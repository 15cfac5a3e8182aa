"""Calling a flow in this process, with Prefect set up for a run that nobody else watches.

The library does not know the orchestrator: flows are found by name, as deployments find them.
"""

import contextlib
import importlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from overnight.prefect_settings import prefect_url
from overnight.store.run_folder import RunFolder

FLOWS = {
    "prompt-sweep": "flows.prompt_sweep:prompt_sweep",
    "uncertainty-sweep": "flows.uncertainty_sweep:uncertainty_sweep",
    "trait-capture": "flows.trait_capture:trait_capture",
    "best-of-k-sweep": "flows.best_of_k_sweep:best_of_k_sweep",
}

# What a user has set wins. The first start of the embedded API takes longer than Prefect's 20 s on a slow
# machine. The terminal is ours: what Prefect and the flows say goes to the API and to the run's log.
_SETTINGS = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "DO_NOT_TRACK": "1",
}


def begin_api() -> None:
    """Start the API of a run for which no server is set: it is on its way while Prefect is imported here."""
    _set_environment()
    if prefect_url(os.environ, Path.home()) is None:
        importlib.import_module("flows.api_process").begin()


def call_flow(kind: str, parameters: dict[str, Any]) -> Any:
    """Call the flow of an experiment and return its final state."""
    _set_up_prefect()
    return importlib.import_module("flows.launching").call(FLOWS[kind], parameters)


def deployer() -> Any:
    """Return the module that checks deployments and puts them onto a server."""
    _set_up_prefect()
    return importlib.import_module("deployments.deploying")


def _set_up_prefect() -> None:
    """Set the environment and let Prefect configure logging, which takes away handlers that are there before."""
    _set_environment()
    importlib.import_module("prefect.main")


@contextlib.contextmanager
def logged(folder: RunFolder) -> Iterator[None]:
    """Keep what is said while the block runs in the run's log, tracebacks included."""
    _set_up_prefect()
    handler = logging.FileHandler(folder.log, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    # Prefect's loggers do not hand their lines up to the root.
    loggers = [logging.getLogger(name) for name in ("prefect", "overnight")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()


def _set_environment() -> None:
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
