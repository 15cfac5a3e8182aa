"""Flows and tasks as the functions that they are, without an API: what they orchestrate is the same, in milliseconds.

For proofs that repeat a run hundreds of times. What Prefect itself makes of a run is proved end to end.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class State:
    """How a flow or a task ended."""

    type: str
    name: str | None = None
    message: str | None = None
    data: Any = None
    error: BaseException | None = None

    def is_completed(self) -> bool:
        return self.type == "Completed"

    def is_cancelled(self) -> bool:
        return self.type == "Cancelled"

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.data


class Called:
    """A flow or a task; a call is a call."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def with_options(self, **_: Any) -> "Called":
        return self

    def __call__(self, *arguments: Any, return_state: bool = False, **named: Any) -> Any:
        try:
            value = self._function(*arguments, **named)
        except Exception as error:
            if return_state:
                return State("Failed", message=str(error), error=error)
            raise
        state = value if isinstance(value, State) else State("Completed", data=value)
        return state if return_state else state.result()


def install() -> None:
    """Take Prefect's place in the modules of this process that orchestrate; they are not imported yet."""
    import prefect
    import prefect.artifacts
    import prefect.states

    def decorate(function: Callable[..., Any] | None = None, **_: Any) -> Any:
        return Called if function is None else Called(function)

    async def nothing(*_: Any, **__: Any) -> None:
        return None

    prefect.flow = prefect.task = decorate
    prefect.get_run_logger = lambda: logging.getLogger("overnight.plain")
    for name in ("acreate_progress_artifact", "aupdate_progress_artifact"):
        setattr(prefect.artifacts, name, nothing)
    for name in ("create_progress_artifact", "update_progress_artifact", "create_markdown_artifact"):
        setattr(prefect.artifacts, name, lambda *_, **__: None)
    for name in ("Completed", "Failed", "Cancelled"):
        setattr(prefect.states, name, _maker(name))


def call(entrypoint: str, parameters: dict[str, Any]) -> State:
    """Run a flow, in place of ``flows.launching.call``."""
    import importlib

    module, _, name = entrypoint.partition(":")
    return getattr(importlib.import_module(module), name)(**parameters, return_state=True)


def _maker(kind: str) -> Callable[..., State]:
    def make(*, name: str | None = None, message: str | None = None, data: Any = None) -> State:
        return State(kind, name or kind, message, data)

    return make
