"""How a model on an Ollama server is asked for; none of it is part of a result's identity."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, PositiveInt

from overnight.spec.base import Spec

_DURATION = re.compile(r"-?([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+")


def _keep_alive(value: str | int) -> str | int:
    """Return a time that the server understands: seconds, or a duration as Go writes it; negative is for ever."""
    if isinstance(value, str) and not _DURATION.fullmatch(value):
        raise ValueError(f"found {value!r}, wanted seconds or a duration like 30m or 1h30m; -1 is for ever")
    if value == 0 or (isinstance(value, str) and not re.search(r"[1-9]", value)):
        raise ValueError(f"found {value!r}: the model would be loaded anew for every request; try 30m")
    return value


def _without_credentials(host: str) -> str:
    if "@" in host:
        raise ValueError(
            "holds credentials; take them out and put OLLAMA_HOST or OLLAMA_API_KEY into the environment"
        )
    return host


class OllamaSettings(Spec):
    """``execution.engine.ollama``: the server, and what it may do for us."""

    host: Annotated[str, AfterValidator(_without_credentials)] | None = Field(
        default=None,
        min_length=1,
        description="address of the server; null: OLLAMA_HOST, or http://127.0.0.1:11434",
    )
    keep_alive: Annotated[str | int, AfterValidator(_keep_alive)] = Field(
        default="30m",
        description="how long the server holds the model after a request, should the run die; "
        "a run that ends unloads it at once",
    )
    pull: bool = Field(
        default=False, description="download a model that the server does not have; its sha256 must be pinned"
    )
    parallel: PositiveInt | None = Field(
        default=None,
        le=256,
        description="requests that the server answers at once: its OLLAMA_NUM_PARALLEL, which it tells nobody and "
        "which no request changes; null: 4 are sent, and those it has no room for wait in its queue",
    )
