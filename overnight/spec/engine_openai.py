"""Models that somebody else serves over the OpenAI API: where they are, and how patiently they are asked."""

import re
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt

from overnight.spec.base import Spec

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Dialect(StrEnum):
    """The variants of the API; what each takes stands in ``overnight.engines.openai.dialects``."""

    FIREWORKS = "fireworks"
    VLLM = "vllm"
    LLAMA_SERVER = "llama_server"
    LM_STUDIO = "lm_studio"
    OPENAI = "openai"


def _address(url: str) -> str:
    """Return an address in its one spelling.

    The messages do not repeat what was found: it could hold a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("not an address; wanted one like http://localhost:8000/v1") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError("not an address; wanted one like http://localhost:8000/v1")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError(
            "holds a user name, a password or a query; take them out and name the environment variable of "
            "the key in api_key_env"
        )
    path = parts.path.rstrip("/")
    if path.endswith("/chat/completions"):
        raise ValueError("ends with /chat/completions; wanted what stands before it, like .../v1")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if port not in (None, _DEFAULT_PORTS[parts.scheme]):
        host = f"{host}:{port}"
    return urlunsplit((parts.scheme, host, path, "", ""))


def _variable(name: str) -> str:
    # Capitals only, and no echo: somebody will write the key itself here one day.
    if not _VARIABLE.fullmatch(name):
        raise ValueError(
            "not the name of an environment variable; wanted capitals, digits and underscores, like "
            "FIREWORKS_API_KEY, and never the key itself"
        )
    return name


class Endpoint(Spec):
    """Where a served model is asked; part of its identity, but for the key."""

    base_url: Annotated[str, AfterValidator(_address)] = Field(
        description="up to and with /v1, e.g. http://localhost:8000/v1"
    )
    dialect: Dialect = Field(description="fireworks, vllm, llama_server, lm_studio or openai")
    api_key_env: Annotated[str, AfterValidator(_variable)] | None = Field(
        default=None, description="environment variable that holds the key; null: none is sent"
    )


class OpenAISettings(Spec):
    """How a served model is asked; none of it is part of a result's identity."""

    attempts: PositiveInt = Field(
        default=10, le=50, description="tries of one request where the server is busy, slow or failing"
    )
    patience_s: PositiveFloat = Field(
        default=900, description="the longest that one request is tried and waited for, in all"
    )
    requests_per_minute: PositiveInt | None = Field(
        default=None, description="never send more than this; null: as fast as the server lets us"
    )
    cache: bool = Field(
        default=False,
        description="true: answers may stand for each other though nobody proves that the model is the same",
    )
