"""How an engine is, for whoever wants to ask it: ``<run>/engines/<model>.json``.

While something holds a model, this file says where it listens; a trial reaches it by that and needs no live object.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overnight.errors import EngineUnavailable, StoreError
from overnight.store.files import read_object, write_secret_json


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineState:
    """What the state file of an engine says."""

    status: str  # loading, serving, failed
    url: str | None = None
    urls: tuple[str, ...] = ()  # of all processes that hold the model, `url` first
    token: str | None = None
    pid: int | None = None
    slots: int = 1
    context_tokens: int = 0
    loads: int = 0  # times the weights were read, restarts included
    restarts: int = 0
    load_s: float | None = None
    error_kind: str | None = None
    error: str | None = None
    placement: dict[str, Any] | None = (
        None  # `Placement.as_row`; None where nobody can say where the model lies
    )


def read_state(path: Path) -> EngineState:
    """Return what an engine says of itself.

    Raises:
        EngineUnavailable: there is no engine, or its file cannot be read.
    """
    try:
        row = read_object(path)
        state = EngineState(**(row | {"urls": tuple(row.get("urls", ()))}))
    except (StoreError, TypeError) as error:
        raise EngineUnavailable(f"no engine at {path} ({error})") from None
    if not (type(state.slots) is type(state.context_tokens) is int and isinstance(state.status, str)):
        raise EngineUnavailable(f"no engine at {path} (its status, slots or context are of another type)")
    return state


def write_state(path: Path, state: EngineState) -> None:
    """Replace what an engine says of itself; only its owner may read it, since it holds the token."""
    write_secret_json(path, {name: getattr(state, name) for name in EngineState.__slots__})
